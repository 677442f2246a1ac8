"""Accuracy against the size of the change: for each image, the smallest epsilon of a grid at which an attack breaks it.

An image that is broken within epsilon is broken within every larger one: the same changed image lies there too. So
each image's own smallest epsilon is looked for by bisection over the grid, all images in one batch, each with an
epsilon of its own; a curve of ten points costs about three attacks instead of ten. As everywhere, only the model
itself, asked afresh, says what is broken (`attacks/method.py`), so a curve is an upper bound on robust accuracy.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch

from archaeology.attacks.checks import answers, attackable, checked_epsilon, checked_labels
from archaeology.attacks.method import Aim, Attack, all_parameters, attacks, verified
from archaeology.attacks.norms import check_norm
from archaeology.core.seeding import content_names, derived_seed
from archaeology.core.shapes import Image, Label, PixelImage
from archaeology.robustness.curve_result import RobustnessCurve, RobustnessCurves
from archaeology.robustness.siege import Siege
from archaeology.specimens.specimen import Specimen

GRIDS: Mapping[str, tuple[float, ...]] = {
    "linf": tuple(size / 255 for size in (0, 0.25, 0.5, 1, 2, 3, 4, 6, 8, 16)),
    "l2": (0.0, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0),
}


def robustness_curve(
    specimen: Specimen,
    images: Image | PixelImage,
    labels: Label,
    *,
    attack: str = "pgd",
    epsilons: Sequence[float] | None = None,
    norm: str | None = None,
    again: Mapping[str, object] | None = None,
    seed: int = 0,
    at_once: int = 256,
    **parameters: object,
) -> RobustnessCurve:
    """How much of its accuracy a model keeps as images may be changed more and more.

    Args:
        specimen: Any model; it is left as it was.
        images: Floats in [0, 1] or 8 bit.
        labels: The right class of each image.
        attack: A registered one. One that looks for the smallest change by itself is run once.
        epsilons: Sizes of the change, ascending, in units of images in [0, 1]; 0 is put in front where it is missing.
            None for ten customary ones: up to 16/255 in "linf", up to 2 in "l2".
        norm: "linf" or "l2"; None for the attack's usual one.
        again: Other parameters with which each image is tried once more, just below where it broke, and below that
            until it stands; {"loss": "margin"} finds what cross-entropy misses where it saturates, for half the time
            again. None for no second round; no use to an attack that is run once.
        seed: Of everything random.
        at_once: Images in one pass; halved where memory runs out.
        parameters: Passed on to the attack.

    Raises:
        UnknownNameError: If there is no such attack, norm or parameter.
        ValueError: As `attack_images`, or if `epsilons` do not ascend or there is none above 0.

    References:
        `carlini2019evaluating` asks for whole curves; the bisection is ours.
    """
    chosen, norm = checked_attack(attack, norm)
    parameters = all_parameters(attack, chosen, parameters)
    second = None if again is None else all_parameters(attack, chosen, {**parameters, **again})
    images = attackable(images, specimen.device)
    sizes = checked_epsilons(attack, GRIDS[norm] if epsilons is None else epsilons, norm, images)
    grid = torch.tensor(sizes, dtype=images.dtype, device=images.device)
    with torch.random.fork_rng([images.device] if images.is_cuda else []):
        torch.manual_seed(derived_seed(seed, "attack", "model"))  # what a random model draws
        clean = answers(specimen, images, at_once)
        labels = checked_labels(labels, clean)
        standing = (clean.argmax(dim=1) == labels).nonzero()[:, 0]
        found, spent = images.clone(), torch.zeros(2, len(images), dtype=torch.long)
        smallest = torch.zeros(len(images), dtype=torch.long)
        if len(standing):
            names = tuple(content_names(images[standing]))
            aim = Aim(images[standing], labels[standing], grid[-1].expand(len(standing)), norm, names, seed)
            siege = Siege.laid(specimen, chosen, aim, grid, at_once)
            smallest[standing.cpu()] = siege.smallest(parameters, second)
            found[standing] = siege.found
            spent[:, standing.cpu()] = torch.stack([siege.victim.gradients, siege.victim.evaluations])
        size = grid[smallest.clamp(max=len(grid) - 1).to(grid.device)]
        result = verified(
            attack, specimen, images, found, labels, clean, size, norm, parameters, spent, at_once
        )
    smallest[~result.success.cpu()] = len(grid)
    return RobustnessCurve(specimen.name, sizes, smallest.numpy(), second, result, seed)


def robustness_curves(
    specimens: Sequence[Specimen],
    images: Image | PixelImage,
    labels: Label,
    *,
    attack: str = "pgd",
    epsilons: Sequence[float] | None = None,
    norm: str | None = None,
    again: Mapping[str, object] | None = None,
    seed: int = 0,
    at_once: int = 256,
    **parameters: object,
) -> RobustnessCurves:
    """The curves of several models on the same images, and what tells them apart; see `robustness_curve`.

    Raises:
        ValueError: As `robustness_curve`, or if there is no model, or two have the same name.
    """
    check_names([specimen.name for specimen in specimens])
    return RobustnessCurves(
        tuple(
            robustness_curve(
                specimen,
                images,
                labels,
                attack=attack,
                epsilons=epsilons,
                norm=norm,
                again=again,
                seed=seed,
                at_once=at_once,
                **parameters,
            )
            for specimen in specimens
        )
    )


def checked_attack(attack: str, norm: str | None) -> tuple[Attack, str]:
    """The attack of that name, and the norm asked for or its usual one.

    Raises:
        UnknownNameError: If there is no such attack or norm.
        ValueError: If the attack does not work in that norm, or its changes have no size that a curve could be of.
    """
    chosen = attacks.get(attack)
    norm = chosen.norms[0] if norm is None else norm
    check_norm(norm)
    if norm not in chosen.norms:
        raise ValueError(f"{attack} works in the norm {' or '.join(chosen.norms)}, but got {norm=}.")
    if not chosen.has_curve:
        raise ValueError(
            f"a curve needs an attack whose changes have a size, but {attack} changes few pixels as much as it likes; "
            f"use attack_images({attack!r}, ...)."
        )
    return chosen, norm


def check_names(names: Sequence[str]) -> None:
    """Raise `ValueError` where there is no model, or two of one name."""
    if not names or len(set(names)) < len(names):
        raise ValueError(
            f"specimens must be one model or several with names of their own, but got {list(names)}; rename them with "
            "dataclasses.replace(specimen, name=...)."
        )


def checked_epsilons(attack: str, epsilons: Sequence[float], norm: str, images: Image) -> tuple[float, ...]:
    """The grid, from 0 on.

    Raises:
        ValueError: If sizes do not ascend, none is above 0, or one is impossible.
    """
    given = [float(size) for size in epsilons]
    for size in reversed(given):  # the largest is what shows that units are wrong
        checked_epsilon(attack, size, norm, images, bounded=True)
    if not given or given[-1] <= 0 or any(low >= high for low, high in pairwise(given)):
        raise ValueError(
            f"epsilons must ascend, with at least one above 0, such as [0, 2/255, 8/255], but got {given}."
        )
    return tuple(given) if given[0] == 0 else (0.0, *given)
