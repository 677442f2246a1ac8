"""What of a model's attention is seen, and how exactly: one line of facts for each family.

`python docs/measure_models.py` measures those that `docs/results/models.json` lacks, and can be stopped at any time;
with `--again FAMILY ...` it measures these anew. Each runs in a process of its own kind that is replaced when it hangs.
"""

import json
import os
import select
import subprocess
import sys
import time
from collections import Counter
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "docs" / "results" / "models.json"
PACKAGES = ("torch", "timm", "transformers", "torchvision", "open_clip_torch")
SECONDS_EACH = 150
INSTEAD = {  # by words in the names of a model's classes, first match first
    "state space": ("ssm", "ssd", "vim"),
    "LSTM": ("lstm", "recurrent", "gru"),
    "linear attention": ("litemla", "linearattention", "linearselfattention", "efficientadditive"),
    "MLP mixing": ("mixer", "spatialgating"),
    "pooling": ("poolformerpooling",),
    "convolution with gates": (
        "focalmodulation",
        "squeezeexcite",
        "selectivekernel",
        "splitattn",
        "gatherexcite",
    ),
    "convolution": ("conv",),
}


def measured(library: str, family: str) -> dict[str, Any]:
    """The facts of one family."""
    import torch
    from model_cases import build

    from archaeology.capture.attention import Attention
    from archaeology.capture.interceptor import intercepted
    from archaeology.capture.provenance import find_places

    case = build(library, family)
    torch.manual_seed(1)
    images = torch.rand(2, 3, case.size, case.size)
    kinds: Counter[str] = Counter()
    routes: Counter[str] = Counter()
    worst_row = 0.0
    patterns: list[torch.Tensor] = []
    changed = 0

    def see(attention: Attention) -> None:
        nonlocal worst_row, changed
        kinds[attention.kind] += 1
        routes[attention.route] += 1
        pattern = attention.pattern()
        patterns.append(pattern)
        if attention.normalised:
            sums = pattern.sum(-1)
            worst_row = max(worst_row, _worst(sums))
        else:
            changed += 1

    with torch.no_grad():
        plain = case.run(images)
        with intercepted(case.model, see):
            watched = case.run(images)
        facts: dict[str, Any] = {
            "library": library,
            "family": family,
            "model": case.name,
            "image_size": case.size,
            "layers": len(patterns),
            "kinds": dict(sorted(kinds.items())),
            "routes": dict(sorted(routes.items())),
            "observed": _difference(watched, plain),
        }
        if not patterns:
            return facts | _instead_of_attention(case, images)
        with intercepted(case.model, None, materialise=True):
            facts["materialised"] = _difference(case.run(images), plain)
        facts["rows"] = worst_row if len(patterns) > changed else None
        facts["changed_after_softmax"] = changed
        facts |= _places(find_places(case.model, case.run, images[:1]), kinds)
    return facts | _against_own(case, images, patterns)


def _worst(sums: Any) -> float:
    off = (sums - 1).abs()[sums != 0]
    return float(off.max()) if off.numel() else 0.0


def _difference(ours: Any, theirs: Any) -> float:
    scale = float(theirs.abs().max())
    return float((ours - theirs).abs().max()) / max(scale, 1e-12)


def _places(found: Any, kinds: Counter[str]) -> dict[str, Any]:
    reasons = Counter(layer.reason for layer in found if layer.places is None)
    return {
        "places": sum(layer.places is not None for layer in found),
        "unplaced": {reason: count for reason, count in sorted(reasons.items())},
    }


def _against_own(case: Any, images: Any, patterns: list[Any]) -> dict[str, Any]:
    """The largest difference of what the library shows to the layer that it is nearest to."""
    if case.own_patterns is None:
        return {"own": None, "own_layers": 0}
    try:
        theirs = case.own_patterns(images)
    except Exception as error:
        return {"own": None, "own_layers": 0, "own_error": type(error).__name__}
    nearest = [found for found in (_nearest(part, patterns) for part in theirs) if found is not None]
    return {"own": max(nearest, default=None), "own_layers": len(nearest)}


def _nearest(theirs: Any, patterns: list[Any]) -> float | None:
    """Difference to the layer that it is nearest to, windows and heads in either order; None if none has its size."""
    found: list[float] = []
    for ours in (pattern for pattern in patterns if pattern.numel() == theirs.numel()):
        orders = [theirs]
        if theirs.ndim == 5:
            orders += [theirs.transpose(1, 2)]
        for order in orders:
            if order.shape[-1] == ours.shape[-1]:
                found.append(float((order.reshape(ours.shape) - ours).abs().max()))
    return min(found, default=None)


def _instead_of_attention(case: Any, images: Any) -> dict[str, Any]:
    from archaeology.capture.hidden import why_nothing
    from archaeology.specimens.specimen import Specimen

    specimen = Specimen("it", case.model, "other", (), (case.size, case.size))
    specimen_error = str(why_nothing(specimen, images))
    parts = [module for module in case.model.modules() if module is not case.model]
    names = " ".join(sorted({type(module).__name__.lower() for module in parts}))
    instead = next(
        (what for what, words in INSTEAD.items() if any(word in names for word in words)), "unknown"
    )
    return {"reason": specimen_error.partition(": ")[2], "instead": instead}


def _serve() -> None:
    """Measure the families named on the standard input, one line each, and answer with a line each."""
    import warnings

    warnings.simplefilter("ignore")
    sys.path.insert(0, str(ROOT / "docs"))
    for line in sys.stdin:
        library, family = line.split()
        try:
            facts = measured(library, family)
        except Exception as error:
            facts = {"library": library, "family": family, "error": f"{type(error).__name__}: {error}"[:300]}
        print(json.dumps(facts), flush=True)


def _started() -> subprocess.Popen[str]:
    surroundings = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    command = ["nice", "-n", "10", sys.executable, __file__, "--serve"]
    return subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=surroundings,
    )


def main() -> None:
    """Measure what is missing."""
    sys.path.insert(0, str(ROOT / "docs"))
    from model_cases import cases

    kept = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {"families": []}
    again = set(sys.argv[2:]) if sys.argv[1:2] == ["--again"] else set()
    known = {(row["library"], row["family"]): row for row in kept["families"]}
    server = _started()
    for library, family in cases():
        if (library, family) in known and not {family, f"{library}/{family}"} & again:
            continue
        start = time.monotonic()
        assert server.stdin is not None and server.stdout is not None
        server.stdin.write(f"{library} {family}\n")
        server.stdin.flush()
        ready, _, _ = select.select([server.stdout], [], [], SECONDS_EACH)
        line = server.stdout.readline() if ready else ""
        if not line:
            server.kill()
            server.wait()
            server = _started()
        facts = json.loads(line) if line else {"library": library, "family": family, "error": "took too long"}
        known[library, family] = facts
        print(f"{library}/{family}: {time.monotonic() - start:.0f} s {facts.get('error', '')}", flush=True)
        rows = [known[key] for key in cases() if key in known]
        RESULTS.write_text(
            json.dumps({"versions": {name: version(name) for name in PACKAGES}, "families": rows}, indent=1)
            + "\n",
            encoding="utf-8",
        )
    server.kill()


if __name__ == "__main__":
    if sys.argv[1:] == ["--serve"]:
        _serve()
    else:
        main()
