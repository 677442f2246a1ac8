"""Robust accuracy at ten epsilons under PGD-20, against torchattacks, foolbox and ART, which attack at each in turn.

Same models, images, step size and number, one random start each, the same number of images at once. Theirs attacks
every image at each epsilon above 0 and shows what it returns to the model once more; ours looks for each image's own
smallest epsilon (`robustness/curve.py`), checks what it found, also after rounding to 8 bits, and counts intervals.
At no epsilon may ours leave more images standing than theirs, give or take one in 512, or the benchmark stops. A line
without a target: a loop by torchattacks that is spared images which a smaller epsilon broke, as a careful user
would write it.

Arguments: those of `benchmarks.attacks`, less the epsilon.
"""

import sys
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec

import torch
from torch import Tensor

from archaeology.robustness.curve import GRIDS, robustness_curve
from archaeology.specimens.load import load
from archaeology.specimens.specimen import Specimen
from benchmarks._side_by_side import Comparison, comparison, report, seconds, setting
from benchmarks.attacks import (
    AT_ONCE,
    PEERS,
    STRIDE,
    Normalised,
    labelled_images,
    of_torchattacks,
    own_arguments,
    strength,
    theirs,
)

TARGET = 5.0
EPSILONS = GRIDS["linf"]
Counts = dict[str, list[int]]


def ours(into: Counts, specimen: Specimen, images: Tensor, labels: Tensor, steps: int) -> None:
    """Images that stand at each epsilon, as the verified curve says."""
    curve = robustness_curve(specimen, images, labels, steps=steps, step_size=STRIDE, at_once=AT_ONCE)
    curve.describe()
    into["ours"] = curve.correct.sum(axis=1).tolist()


def looped(
    into: Counts,
    name: str,
    attack: Callable[..., Tensor],
    specimen: Specimen,
    images: Tensor,
    labels: Tensor,
    steps: int,
) -> None:
    """Images that stand at each epsilon, each attacked for itself."""
    question = ("pgd", specimen, images, labels)
    into[name] = [
        theirs(attack, *question, epsilon, steps, seed=0)
        if epsilon
        else int((answered(specimen, images) == labels).sum())
        for epsilon in EPSILONS
    ]


def spared(into: Counts, specimen: Specimen, images: Tensor, labels: Tensor, steps: int) -> None:
    """The same by torchattacks, which is given only what no smaller epsilon has broken."""
    model, left = Normalised(specimen).eval(), []
    for epsilon in EPSILONS:
        changed = images
        if epsilon and len(images):
            changed = of_torchattacks("pgd", model, images, labels, epsilon, steps)
        right = answered(specimen, changed) == labels
        images, labels = images[right], labels[right]
        left.append(len(images))
    into["spared"] = left


@torch.no_grad()
def answered(specimen: Specimen, images: Tensor) -> Tensor:
    said = [specimen.predict(some.clamp(0, 1)).argmax(dim=1) for some in images.split(AT_ONCE) if len(some)]
    return torch.cat(said) if said else torch.empty(0, dtype=torch.long)


def weakest(standing: Counts, name: str) -> tuple[int, int]:
    """How many images ours and theirs leave standing, at the epsilon where ours does worst beside theirs."""
    return max(zip(standing["ours"], standing[name], strict=True), key=lambda pair: pair[0] - pair[1])


def main() -> None:
    own = own_arguments()
    given = setting(__doc__, threads=1, clock="cpu")
    count, steps = (12, 2) if given.small else (own.images, 20)
    lines: list[Comparison] = []
    for spec in own.specimens[: 1 if given.small else None]:
        specimen = load(spec, device="cpu")
        question = (specimen, *labelled_images(own.data, specimen, count), steps)
        counts: Counts = {}
        with_torchattacks = find_spec("torchattacks") is not None
        peers = [name for name in PEERS if name != "torchattacks" or with_torchattacks]
        sides = [partial(ours, counts, *question)]
        sides += [partial(looped, counts, name, PEERS[name][0], *question) for name in peers]
        if with_torchattacks:
            sides.append(partial(spared, counts, *question))
        taken = seconds(given, *sides, rounds=3, warm_up=False)
        print(f"  {spec}: standing of {count} at each epsilon: {counts}", flush=True)
        for name, time in zip(peers, taken[1:], strict=False):
            lines.append(strength(f"PGD-{steps}, {spec}, worst epsilon", name, *weakest(counts, name)))
            case = f"{len(EPSILONS)} epsilons, PGD-{steps}, {spec}, {count} images"
            lines.append(comparison(case, name, ours=taken[0], theirs=time, unit="s", target=TARGET))
        if with_torchattacks:
            case = f"{len(EPSILONS)} epsilons, PGD-{steps}, {spec}, survivors carried on by hand"
            lines.append(
                comparison(case, "torchattacks", ours=taken[0], theirs=taken[-1], unit="s", target=None)
            )
    report("attacks_curve", given, lines)


if __name__ == "__main__":
    sys.exit(main())
