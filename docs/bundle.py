"""Take trained checkpoints into the package, and keep the run that made each of them.

Run `python docs/bundle.py runs/vit_cifar10 ...` after `archaeology train vit_cifar10 --weights bfloat16 ...`.
"""

import json
import shutil
import sys
from pathlib import Path

from generate import BUNDLED, ROOT, main

LARGEST = 2_000_000  # bytes of weights: a first dig must not need a download


def bundle(run: Path) -> None:
    """Copy weights, config and card into the package, and `run.json` with `metrics.jsonl` into docs/results."""
    weights = run / "model.safetensors"
    if weights.stat().st_size > LARGEST:
        raise SystemExit(
            f"bundled weights must be at most {LARGEST:,} bytes, but {weights} has more; use bfloat16."
        )
    target = BUNDLED / run.name
    target.mkdir(parents=True, exist_ok=True)
    for name in ("model.safetensors", "config.json", "README.md"):
        shutil.copyfile(run / name, target / name)
    facts = json.loads((run / "run.json").read_text(encoding="utf-8"))
    lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    kept = {**facts, "metrics": [json.loads(line) for line in lines]}
    results = ROOT / "docs" / "results" / f"{run.name}-seed{facts['seed']}.json"
    results.parent.mkdir(parents=True, exist_ok=True)
    results.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    for folder in sys.argv[1:]:
        bundle(Path(folder))
    main()
