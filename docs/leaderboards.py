"""Measure which explanation to believe: leaderboards of all methods, kept as JSON and shown in docs/leaderboards.md.

`python docs/leaderboards.py cue_conflict --images 200` measures a case, in parts that a second start finds again;
`python docs/leaderboards.py page` writes the page anew from what is kept.
"""

import argparse
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from archaeology.core.storage import read_json, sha256_of, write_json
from archaeology.data.cache import decode_once
from archaeology.data.open import open_source
from archaeology.data.worlds.cue_conflict import CueConflict
from archaeology.dig.parts import Parts
from archaeology.evaluate.counterfactuals import compared_counterfactuals, fewest_patches
from archaeology.evaluate.leaderboard import leaderboard
from archaeology.evaluate.sheet import Sheet, mark_all
from archaeology.evaluate.trial import trial_of
from archaeology.explain.method import explain_all, explanations
from archaeology.specimens.load import load
from archaeology.specimens.specimen import Specimen

ROOT = Path(__file__).resolve().parents[1]
RESULTS, PAGE = ROOT / "docs" / "results" / "leaderboards", ROOT / "docs" / "leaderboards.md"
CHUNK = 16
QUICK: dict[str, dict[str, Any]] = {
    "deletion": {"steps": 8},
    "insertion": {"steps": 8},
    "srg": {"steps": 8},
    "road": {"shares": (0.25, 0.5, 0.75)},
    "sensitivity_n": {"samples": 24},
    "pointing_game": {},
    "mass_inside": {},
    "complexity": {},
    "sparseness": {},
}
COSTLY: dict[str, dict[str, Any]] = {"randomization": {"only_whole": True}, "stability": {"samples": 1}}
Truth = Mapping[str, Tensor]


def cue_conflict(arguments: argparse.Namespace) -> tuple[Specimen, Tensor, Truth, str]:
    """The bundled ViT on scenes it was not trained on, with masks."""
    batch = CueConflict("random").generate(0, arguments.images)
    return load("bundled:vit_cue_conflict"), batch.images, {"masks": batch.mask}, "cue_conflict random"


def cue_conflict_untrained(arguments: argparse.Namespace) -> tuple[Specimen, Tensor, Truth, str]:
    """The same architecture with weights as before training, on the same scenes."""
    specimen, images, truth, data = cue_conflict(arguments)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in specimen.model.named_parameters():
            if parameter.ndim > 1:
                parameter.copy_(0.02 * torch.randn(parameter.shape, generator=generator))
            else:
                parameter.fill_(1.0 if "norm" in name and name.endswith("weight") else 0.0)
    return replace(specimen, name="vit_cue_conflict, untrained"), images, truth, data


def tiny_imagenet20(arguments: argparse.Namespace) -> tuple[Specimen, Tensor, Truth, str]:
    """A ViT trained on 20 classes of Tiny ImageNet, on validation images with boxes."""
    specimen = load(arguments.specimen)
    source = open_source(arguments.data, split="validation")
    decoded = decode_once(source, specimen.image_size).take(arguments.images, seed=0)
    assert decoded.boxes is not None, "Tiny ImageNet has boxes"
    boxes = torch.from_numpy(np.array(decoded.boxes)).float()
    named = replace(specimen, name=arguments.specimen.rstrip("/").split("/")[-1])
    return named, torch.from_numpy(np.array(decoded.images)), {"boxes": boxes}, "tiny-imagenet-20 validation"


CASES: dict[str, Callable[[argparse.Namespace], tuple[Specimen, Tensor, Truth, str]]] = {
    "cue_conflict": cue_conflict,
    "cue_conflict_untrained": cue_conflict_untrained,
    "tiny_imagenet20": tiny_imagenet20,
}


def measure(case: str, arguments: argparse.Namespace) -> None:
    """Mark all methods on a case, in parts, and keep the leaderboard after each part."""
    specimen, images, truth, data = CASES[case](arguments)
    parts = Parts(ROOT / "build" / "leaderboards")
    methods = {name: {} for name in explanations if name not in arguments.leave_out}
    sheets: list[Sheet] = []
    for start in range(0, len(images), CHUNK):
        some = slice(start, start + CHUNK)
        by = QUICK | COSTLY if start < arguments.costly else QUICK
        given = {name: values[some] for name, values in truth.items()}
        key = (case, specimen.fingerprint(), sha256_of(images[some].numpy().tobytes()), repr((methods, by)))

        def compute(some: slice = some, given: Truth = given, by: Any = by) -> dict[str, np.ndarray]:
            masks, boxes = given.get("masks"), given.get("boxes")
            sheet = mark_all(
                specimen, images[some], masks=masks, boxes=boxes, methods=methods, by=by, at_once=CHUNK
            )
            return sheet.arrays()

        sheets.append(Sheet.from_arrays(parts.get("sheets", key, CHUNK, compute)))
        document = {"case": case, "specimen": specimen.name, "data": data, "judges": QUICK | COSTLY}
        board = leaderboard(Sheet.joined(sheets)).describe()
        write_json(RESULTS / f"{case}.json", finite(document | {"leaderboard": board}))
        print(f"{case}: {min(start + CHUNK, len(images))} images", flush=True)


def counterfactuals(case: str, arguments: argparse.Namespace) -> None:
    """How few patches each method needs to flip the answer, on the first images of a case."""
    specimen, images, _, data = CASES[case](arguments)
    trial = trial_of(specimen, images)
    methods = [name for name in explanations if name not in arguments.leave_out]
    explained = explain_all(methods, specimen, trial.images, trial.target)
    found = {name: fewest_patches(trial, each, edit=arguments.edit) for name, each in explained.items()}
    standings = [vars(each) for each in compared_counterfactuals(found)]
    for each in standings:
        each.update({name: vars(value) for name, value in each.items() if hasattr(value, "low")})
    document = {"case": case, "specimen": specimen.name, "data": data, "edit": arguments.edit}
    path = RESULTS / f"{case}-flips-{arguments.edit}.json"
    write_json(path, finite(document | {"standings": standings}))


def finite(value: Any) -> Any:
    """Lists and mappings with None where a number is infinite or not one: JSON has no word for them."""
    if isinstance(value, Mapping):
        return {name: finite(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def page() -> str:
    """The page made from what is kept."""
    boards = [read_json(path) for path in sorted(RESULTS.glob("*.json"))]
    sections = [board_section(each) for each in boards if "leaderboard" in each]
    sections += [flip_section(each) for each in boards if "standings" in each]
    return "\n\n".join([INTRODUCTION, *sections]) + "\n"


INTRODUCTION = """# Which explanation to believe

Generated by `python docs/leaderboards.py page` from [results/leaderboards](results/leaderboards). Every method is
marked by judges on the same images; what each judge computes stands in `archaeology.evaluate`. Intervals are 95 %
bootstraps over images. **Bold**: beats chance, corrected for all methods and judges tried. A number is a difference
from chance on the same images: of a random map, or for `sensitivity_n`, `pointing_game` and `mass_inside` what chance
is known to be. Mean ranks and shares are over all methods but the random one."""


def board_section(document: Mapping[str, Any]) -> str:
    """The table of one leaderboard, methods by judges that count."""
    board = document["leaderboard"]
    counted = [verdict for verdict in board["verdicts"] if verdict["counts"]]
    lines = [
        f"## {document['specimen']} on {document['data']}",
        "",
        f"{board['images']} images. Winner by {board['rule']}: **{board['winner'] or 'no winner'}**"
        + (f" ({board['reason']})." if board["reason"] else "."),
        f"Without the image the target's probability moves by {shown(board['reach'])}.",
        "",
        "| method | mean rank | best in | "
        + " | ".join(verdict["judge"] for verdict in counted)
        + " | sanity |",
        "|---" * (len(counted) + 4) + "|",
    ]
    chance = {"method": board["floor"], "sanity": board.get("sanity", {}).get(board["floor"])}
    for each in [*board["overall"], chance]:
        cells = [cell(verdict, each["method"]) for verdict in counted]
        rank = shown(each["mean_rank"]) if "mean_rank" in each else ""
        share = f"{each['best_share']:.0%}" if "best_share" in each else ""
        lines.append(
            f"| `{each['method']}` | {rank} | {share} | " + " | ".join(cells) + f" | {sanity(each)} |"
        )
    winners = ", ".join(f"{v['judge']}: {v['winner'] or 'nobody'} ({v['images']} images)" for v in counted)
    missing = "".join(f"\n- `{name}` is missing: {reason}" for name, reason in board["missing"].items())
    return "\n".join([*lines, "", f"Winners by judge: {winners}.{missing}"])


def cell(verdict: Mapping[str, Any], method: str) -> str:
    """One method's difference from chance by one judge."""
    for each in verdict["standings"]:
        if each["method"] == method:
            text = shown(each["above_chance"])
            return f"**{text}**" if each["beats_chance"] else text
    return ""


def sanity(each: Mapping[str, Any]) -> str:
    """What the randomization check says."""
    found = each.get("sanity")
    return f"{found['verdict']}, {shown(found['alike'])}" if found else ""


def flip_section(document: Mapping[str, Any]) -> str:
    """The table of counterfactuals."""
    lines = [
        f"## Fewest patches to flip {document['specimen']} ({document['edit']})",
        "",
        "Share of the patches that must go, most telling first, until the answer changes; one that never does "
        "counts as all and one more.",
        "",
        "| method | mean share | less than random | median | flips at all |",
        "|---|---|---|---|---|",
    ]
    for each in document["standings"]:
        cells = [shown(each[name]) for name in ("mean", "below_floor", "median", "flipped")]
        lines.append(f"| `{each['method']}` | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def shown(interval: Mapping[str, Any]) -> str:
    """`0.12 (0.10 to 0.14)`."""
    value, low, high = (
        "never" if interval[k] is None else f"{interval[k]:.2f}" for k in ("value", "low", "high")
    )
    return f"{value} ({low} to {high})"


def main() -> None:
    """Measure a case, find counterfactuals, or write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=[*CASES, "page"])
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--costly", type=int, default=32, help="images for the judges that draw maps anew")
    parser.add_argument("--flips", action="store_true", help="find counterfactuals instead of a leaderboard")
    parser.add_argument("--edit", default="mean")
    parser.add_argument("--specimen", default="run:runs/vit_tiny_imagenet20-seed0")
    parser.add_argument("--data", default="parquet:data/tiny-imagenet-20")
    parser.add_argument("--leave-out", nargs="*", default=[])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.what != "page":
        (counterfactuals if arguments.flips else measure)(arguments.what, arguments)
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
