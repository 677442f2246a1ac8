"""What breaks these models: every measure of robustness on the same images, part by part, as one document.

Each part takes as many of the images as it can afford (`Depth`), the first ones of an order drawn from their pixels and
the seed: data that are sorted by class must not give a part the first classes alone. A part that does not apply to
these models or data is left out with its reason. The document is plain JSON: figures, reports and findings are made
from it alone.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from jaxtyping import Int
from torch import Tensor

from archaeology.core.registry import Registry
from archaeology.core.seeding import content_names, derived_seed
from archaeology.core.shapes import Image, Label, PixelImage
from archaeology.core.storage import plain_json
from archaeology.robustness.curve import check_names, checked_attack
from archaeology.specimens.specimen import Specimen

SCHEMA_VERSION = 1
ALL = "all"
Keep = Callable[[str, Callable[[], Any]], Any]


class NotApplicableError(ValueError):
    """A part of the survey that these models or images do not allow; the message says why."""


@dataclass(frozen=True)
class Depth:
    """How many images each part of a survey takes; fewer where there are fewer.

    Attributes:
        curves: Of accuracy against epsilon.
        gradients: The check whether gradients can be trusted.
        transfer: Adversarial images tried on other models.
        fourier: Noise of every single frequency; the costliest for each image.
        passes: Low-pass and high-pass filters.
        corruptions: Fifteen kinds and more at five severities.
        patches: Patches lost, shuffled, covered.
        attention: Attention before and after an attack.
        carriers: Heads restored one by one.
        reattack: Attacked anew without the heads that carry most; other images than those of `carriers`.
        shape: Decisions where shape and texture disagree.
        pictures: Images shown before and after.
    """

    curves: int = 256
    gradients: int = 64
    transfer: int = 128
    fourier: int = 32
    passes: int = 256
    corruptions: int = 128
    patches: int = 128
    attention: int = 64
    carriers: int = 32
    reattack: int = 64
    shape: int = 256
    pictures: int = 6

    def scaled(self, most: int) -> "Depth":
        """The same proportions, with at most this many images anywhere."""
        factor = most / max(vars(self).values())
        small = {
            name: max(2, round(value * factor)) for name, value in vars(self).items() if name != "pictures"
        }
        return Depth(**small, pictures=self.pictures)


@dataclass(frozen=True, eq=False)
class Subject:
    """What is surveyed.

    Attributes:
        specimens: Models whose classes have the same numbers, with names of their own.
        images: That all parts take the first of.
        labels: Their classes.
        names: Of the images, for pictures.
        epsilon: Size of the change in "linf" for what is attacked once.
        epsilons: Of curves, for each norm; None for customary ones.
        attacks: Of curves: pairs of attack and norm.
        depth: How many images.
        seed: Of everything random.
        at_once: Images in one pass.
        found: Documents of parts that are done, for parts that go on from them.
    """

    specimens: tuple[Specimen, ...]
    images: Image | PixelImage
    labels: Label
    names: tuple[str, ...]
    epsilon: float
    epsilons: Sequence[float] | None
    attacks: tuple[tuple[str, str | None], ...]
    depth: Depth
    seed: int
    at_once: int
    found: dict[str, Any] = field(default_factory=dict)

    def first(self, count: int) -> tuple[Image | PixelImage, Label]:
        """The first images and their labels."""
        return self.images[:count], self.labels[:count]

    def others(self, count: int, beyond: int) -> tuple[Image | PixelImage, Label]:
        """As many images that are not among the first.

        Args:
            count: How many, fewer where there are fewer.
            beyond: How many of the first are not to be among them.

        Raises:
            NotApplicableError: If fewer than two are left.
        """
        some = slice(beyond, beyond + count)
        if len(self.labels[some]) < 2:
            raise NotApplicableError(
                f"of {len(self.labels)} images, {beyond} are taken to choose heads by, and at least 2 others are needed"
            )
        return self.images[some], self.labels[some]

    @property
    def transformers(self) -> tuple[Specimen, ...]:
        """Those with attention.

        Raises:
            NotApplicableError: If there is none.
        """
        chosen = tuple(one for one in self.specimens if one.kind == "transformer")
        if not chosen:
            raise NotApplicableError("none of the models has attention")
        return chosen


parts: Registry[Callable[[Subject], Any]] = Registry("part of a survey of robustness")


def survey_robustness(
    specimens: Sequence[Specimen],
    images: Image | PixelImage,
    labels: Int[Tensor, " other"],
    *,
    names: Sequence[str] | None = None,
    wanted: Sequence[str] | None = None,
    attacks: Sequence[tuple[str, str | None]] = (("pgd", "linf"), ("pgd", "l2")),
    epsilon: float = 4 / 255,
    epsilons: Sequence[float] | None = None,
    depth: Depth | None = None,
    seed: int = 0,
    at_once: int = 256,
    keep: Keep | None = None,
) -> dict[str, Any]:
    """Every measure of robustness of some models on the same images.

    Args:
        specimens: Any models that call the same classes by the same numbers (`specimens.reordered`).
        images: Floats in [0, 1] or 8 bit.
        labels: Their classes.
        names: Of the images; their numbers if None.
        wanted: Parts, see `parts`; all if None.
        attacks: Attack and norm of each set of curves.
        epsilon: Largest change of a pixel in parts that attack once.
        epsilons: Of curves; None for ten customary ones in each norm.
        depth: How many images each part takes.
        seed: Of everything random.
        at_once: Images in one pass; halved where memory runs out.
        keep: Called with a part's name and what computes it; may answer with what was computed before.

    Returns:
        The document: "specimens", "n", "seed", the parts, "missing" (reasons by part) and "seconds" (by part).

    Raises:
        UnknownNameError: If there is no such part, attack or norm.
        ValueError: If there is no model or image, labels do not exist, two models have the same name, or an epsilon is
            none.
    """
    check_names([one.name for one in specimens])
    if len(images) == 0 or len(images) != len(labels):
        raise ValueError(
            f"a survey needs images with a label for each, but got {len(images)} images and {len(labels)} labels."
        )
    if not 0 < epsilon <= 1:
        raise ValueError(
            f"epsilon must lie in (0, 1], as pixels lie in [0, 1], but got {epsilon:g}; did you mean {epsilon:g}/255?"
        )
    for attack, norm in attacks:
        checked_attack(attack, norm)
    order = order_of(images, seed)
    called = tuple(str(row if names is None else names[row]) for row in order)
    images, labels = images[order], labels[order]
    chosen = {name: parts.get(name) for name in chosen_parts(wanted or ())}
    subject = Subject(
        specimens=tuple(specimens),
        images=images,
        labels=labels,
        names=called,
        epsilon=epsilon,
        epsilons=epsilons,
        attacks=tuple(attacks),
        depth=depth or Depth(),
        seed=seed,
        at_once=at_once,
    )
    document: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "specimens": [{"name": one.name, "kind": one.kind} for one in specimens],
        "n": len(images),
        "seed": seed,
        "epsilon": epsilon,
    }
    missing: dict[str, str] = {}
    seconds: dict[str, float] = {}
    for name, part in chosen.items():
        started = time.monotonic()
        try:
            work = _work(part, subject)
            document[name] = subject.found[name] = keep(name, work) if keep else work()
        except NotApplicableError as reason:
            missing[name] = str(reason)
        seconds[name] = round(time.monotonic() - started, 2)
    return {**document, "missing": missing, "seconds": seconds}


def chosen_parts(names: Sequence[str]) -> tuple[str, ...]:
    """Names of parts, each once and in the order of a report; all where none, or "all", is named.

    Raises:
        UnknownNameError: If there is no such part.
    """
    # The parts register themselves where they are defined, which needs what is defined here.
    from archaeology.robustness import survey_parts  # noqa: F401  # pyright: ignore[reportUnusedImport]

    for name in names:
        if name != ALL:
            parts.get(name)
    return tuple(name for name in parts if not names or ALL in names or name in names)


def order_of(images: Image | PixelImage, seed: int) -> list[int]:
    """Rows in an order that depends on each image's pixels and the seed alone, so that fewer are spread as all are."""
    keys = [derived_seed(seed, "survey", name) for name in content_names(images)]
    return sorted(range(len(images)), key=keys.__getitem__)


def _work(part: Callable[[Subject], Any], subject: Subject) -> Callable[[], Any]:
    return lambda: plain_json(part(subject))


def by_name(
    specimens: Sequence[Specimen], measure: Callable[[Specimen], Mapping[str, Any]]
) -> dict[str, Mapping[str, Any]]:
    """What is measured for each model alone, by the model's name; a model that does not allow it is not there.

    Raises:
        NotApplicableError: If it can be measured for none; with all reasons.
    """
    found: dict[str, Mapping[str, Any]] = {}
    reasons: dict[str, str] = {}
    for one in specimens:
        try:
            found[one.name] = measure(one)
        except NotApplicableError as reason:
            reasons[one.name] = str(reason)
    if not found:
        raise NotApplicableError("; ".join(f"{name}: {reason}" for name, reason in reasons.items()))
    return found
