"""The child of `memory.py`: answers the question on stdin, one line of JSON for each batch size.

Before a large batch it runs one image and two, and does not try what would not fit.
"""

import json
import sys
from dataclasses import asdict

import torch

from archaeology.core.memory import available_mebibytes, peak_mebibytes
from archaeology.profiling.config import ProfileConfig
from archaeology.profiling.limits import Known, too_much
from archaeology.profiling.memory import Peak
from archaeology.profiling.subject import CLOCKS, Subject, built, forward, normalised_images
from archaeology.specimens.specimen import Specimen


def main() -> None:
    """Answer."""
    question = json.loads(sys.stdin.read())
    config = ProfileConfig.model_validate(question["config"])
    batches = question["batches"]
    torch.set_num_threads(config.threads)
    specimen = built(Subject(**question["subject"]), config)
    forward(specimen.model, normalised_images(specimen, 1, config.seed))
    known = probed(specimen, config, max(batches))
    for batch in batches:
        reason = too_much(batch, known, patience=config.patience, available=available_mebibytes())
        found = peak(specimen, batch, config.seed)[0] if reason is None else None
        print(json.dumps(asdict(Peak(batch, found, reason or ""))), flush=True)


def probed(specimen: Specimen, config: ProfileConfig, largest: int) -> Known:
    """What one image takes, and two where larger batches are to come."""
    alone, seconds = peak(specimen, 1, config.seed, config.clock)
    if largest <= 2 or 2 * seconds > config.patience:
        return Known(seconds, 0.0, alone)
    pair, for_two = peak(specimen, 2, config.seed, config.clock)
    images = sum(part.nbytes for part in normalised_images(specimen, 1, config.seed)) / 2**20
    each = max(pair - alone, 0.0) + images
    return Known(for_two / 2, max(alone - each, 0.0), each)


def peak(specimen: Specimen, batch: int, seed: int, clock: str = "wall") -> tuple[float, float]:
    """Mebibytes and seconds of one forward pass."""
    images = normalised_images(specimen, batch, seed)
    start = CLOCKS[clock]()
    found = peak_mebibytes(lambda: forward(specimen.model, images))
    return max(found, 0.0), CLOCKS[clock]() - start


if __name__ == "__main__":
    main()
