"""The child of `memory.py`: answers each line on stdin, a question in JSON, with the peaks in mebibytes."""

import json
import sys

import torch

from archaeology.core.memory import peak_mebibytes
from archaeology.zoo.config import ZooConfig
from archaeology.zoo.subject import STEPS, subject

WARM_UP_LENGTH = 256  # tokens; loads code, which also takes memory, before anything is measured


def main() -> None:
    """Answer until stdin ends."""
    warm: set[str] = set()
    for line in sys.stdin:
        question = json.loads(line)
        name, length = question["mechanism"], question["length"]
        config = ZooConfig.model_validate(question["config"])
        torch.set_num_threads(config.threads)
        if name not in warm:
            for step in STEPS:
                subject(name, min(WARM_UP_LENGTH, length), config).run(step)()
            warm.add(name)
        asked = subject(name, length, config)
        print(json.dumps({step: peak_mebibytes(asked.run(step)) for step in STEPS}), flush=True)


if __name__ == "__main__":
    main()
