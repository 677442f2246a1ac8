"""How an attack is run: it proposes images, and shared code checks what it was given and what it found.

An attack is `draw(victim, aim, **parameters) -> candidates`. It may be careless: candidates are brought within epsilon
and into [0, 1] here, and judged by the model itself, in a pass of its own and again after rounding to 8 bits.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from inspect import signature
from typing import TypeVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from archaeology.attacks.checks import answers, attackable, checked_epsilon, checked_labels
from archaeology.attacks.norms import SLACK, check_norm, distances, in_eight_bits, project
from archaeology.attacks.portions import portion_size, portions
from archaeology.attacks.result import AttackResult
from archaeology.attacks.victim import FEW, Victim, Watch
from archaeology.core.registry import Registry, unknown_name
from archaeology.core.seeding import content_names, derived_seed, torch_generator
from archaeology.core.shapes import Image, Label, Logits, PixelImage
from archaeology.specimens.specimen import Specimen

Draw = TypeVar("Draw", bound=Callable[..., Image])


@dataclass(frozen=True, eq=False)
class Aim:
    """What an attack is to break.

    Attributes:
        images: In [0, 1], all of them answered rightly.
        labels: Their classes.
        epsilon: How far each may be changed; infinite for an attack that looks for the smallest change.
        norm: "linf" or "l2".
        names: Of the images, for what is random for each.
        seed: Of everything random.
    """

    images: Image
    labels: Label
    epsilon: Float[Tensor, " batch"]
    norm: str
    names: tuple[str, ...]
    seed: int = 0

    def __len__(self) -> int:
        return len(self.images)

    @property
    def rows(self) -> Int[Tensor, " batch"]:
        """Numbers of all images."""
        return torch.arange(len(self), device=self.images.device)

    def only(self, rows: Int[Tensor, " other"]) -> "Aim":
        """These images alone."""
        return replace(
            self,
            images=self.images[rows],
            labels=self.labels[rows],
            epsilon=self.epsilon[rows],
            names=tuple(self.names[row] for row in rows.tolist()),
        )

    def normal(self, *purpose: object) -> Image:
        """Standard normal numbers shaped like the images, drawn from an image's pixels, the seed and the purpose."""
        shape = self.images.shape[1:]
        drawn = [
            torch.randn(shape, generator=torch_generator(self.seed, "attack", *purpose, name))
            for name in self.names
        ]
        return torch.stack(drawn).to(self.images)


@dataclass(frozen=True, eq=False)
class Attack:
    """A registered attack.

    Attributes:
        title: What it is called, as a figure names it.
        draw: `draw(victim, aim, **parameters) -> candidates`.
        norms: That it can be bounded by or measured in, its usual one first.
        bounded: Whether it takes an epsilon; one that does not looks for the smallest change.
        uses_gradients: Whether it follows gradients, or only asks for answers.
        has_curve: Whether it bounds or measures what it does by the size of the change; one that changes few pixels as
            much as it likes does not.
    """

    title: str
    draw: Callable[..., Image]
    norms: tuple[str, ...]
    bounded: bool
    uses_gradients: bool
    has_curve: bool = True


attacks: Registry[Attack] = Registry("attack")


def attack(
    name: str,
    *,
    title: str,
    norms: tuple[str, ...],
    bounded: bool = True,
    uses_gradients: bool = True,
    has_curve: bool = True,
) -> Callable[[Draw], Draw]:
    """Decorator for `draw(victim, aim, **parameters) -> candidates`; see `Attack`."""

    def shelve(draw: Draw) -> Draw:
        attacks.register(name)(Attack(title, draw, norms, bounded, uses_gradients, has_curve))
        return draw

    return shelve


def title_of(name: str) -> str:
    """What an attack is called; one that is not registered is called by its name."""
    return attacks.get(name).title if name in attacks else name.replace("_", " ")


def attack_images(
    name: str,
    specimen: Specimen,
    images: Image | PixelImage,
    labels: Tensor,  # whatever comes is checked below, with words of ours
    *,
    epsilon: float | Tensor | None = None,
    norm: str | None = None,
    seed: int = 0,
    at_once: int = 256,
    watch: Watch | None = None,
    **parameters: object,
) -> AttackResult:
    """Change images until the model is wrong about them, and check every success.

    Args:
        name: A registered attack, for example "pgd"; see `attacks.names()`.
        specimen: Any model; it is left as it was.
        images: Floats in [0, 1] or 8 bit.
        labels: The right class of each image.
        epsilon: The largest change, in units of images in [0, 1], for all or for each; None for an attack that looks
            for the smallest change.
        norm: "linf" or "l2"; None for the attack's usual one.
        seed: Of everything random.
        at_once: Images in one pass; halved where memory runs out.
        watch: Shown every question that the attack asks; what it raises ends the attack and reaches the caller, so
            that an attack can be followed, and stopped between two steps.
        parameters: Passed on to the attack; each documents its own.

    Raises:
        UnknownNameError: If there is no such attack or norm.
        ValueError: If images leave [0, 1], a label does not exist, epsilon is missing, below zero or in 0-255 units,
            the attack has no such parameter, the model's answers are not finite, or it cannot be differentiated by an
            attack that must.
    """
    chosen = attacks.get(name)
    norm = chosen.norms[0] if norm is None else norm
    check_norm(norm)
    if norm not in chosen.norms:
        raise ValueError(f"{name} works in the norm {' or '.join(chosen.norms)}, but got {norm=}.")
    parameters = all_parameters(name, chosen, parameters)
    images = attackable(images, specimen.device)
    cuda = [images.device] if images.is_cuda else []
    with torch.random.fork_rng(cuda):  # what a random model draws is drawn again when the attack is repeated
        torch.manual_seed(derived_seed(seed, "attack", "model"))
        clean = answers(specimen, images, at_once)
        labels = checked_labels(labels, clean)
        size = checked_epsilon(name, epsilon, norm, images, bounded=chosen.bounded)
        found, spent = images.clone(), torch.zeros(2, len(images), dtype=torch.long)
        standing = (clean.argmax(dim=1) == labels).nonzero()[:, 0]
        whole = (
            Victim(specimen, images[standing[:FEW]], at_once=at_once, watch=watch) if len(standing) else None
        )
        for some in portions(len(standing), portion_size(images, at_once)):
            assert whole is not None
            rows = standing[some]
            aim = Aim(images[rows], labels[rows], size[rows], norm, tuple(content_names(images[rows])), seed)
            part = whole.afresh(len(rows), some.start)
            found[rows] = inside(chosen.draw(part, aim, **parameters), aim)
            spent[:, rows.cpu()] = torch.stack([part.gradients, part.evaluations])
        return verified(name, specimen, images, found, labels, clean, size, norm, parameters, spent, at_once)


def inside(candidates: Image, aim: Aim) -> Image:
    """Candidates brought within epsilon and into [0, 1], whatever the attack returned."""
    largest = aim.images[0].numel()  # no change of images in [0, 1] is longer, in any norm
    return project(candidates.detach().nan_to_num(0.5), aim.images, aim.epsilon.clamp(max=largest), aim.norm)


def all_parameters(name: str, chosen: Attack, given: Mapping[str, object]) -> dict[str, object]:
    """Those given, and the attack's own values for all others.

    Raises:
        UnknownNameError: If the attack has no parameter of that name.
    """
    known = {
        parameter.name: parameter.default
        for parameter in signature(chosen.draw).parameters.values()
        if parameter.kind is parameter.KEYWORD_ONLY
    }
    for each in given:
        if each not in known:
            raise unknown_name(f"parameter of {name}", each, list(known))
    return {**known, **given}


def verified(
    name: str,
    specimen: Specimen,
    original: Image,
    images: Image,
    labels: Label,
    clean: Logits,
    epsilon: Float[Tensor, " batch"],
    norm: str,
    parameters: Mapping[str, object],
    spent: Int[Tensor, "2 batch"],
    at_once: int,
) -> AttackResult:
    """Ask the model itself about every image that was changed, as it is and rounded to 8 bits."""
    checked = [
        _checked(
            specimen, original[some], images[some], labels[some], clean[some], epsilon[some], norm, at_once
        )
        for some in portions(len(images), portion_size(images, at_once))
    ]
    return AttackResult(
        attack=name,
        norm=norm,
        epsilon=epsilon,
        parameters=dict(parameters),
        original=original,
        images=images,
        labels=labels,
        clean_logits=clean,
        logits=torch.cat([one.logits for one in checked]),
        success=torch.cat([one.success for one in checked]),
        success_8bit=torch.cat([one.success_8bit for one in checked]),
        distances={key: torch.cat([one.distances[key] for one in checked]) for key in checked[0].distances},
        gradients=spent[0],
        evaluations=spent[1],
    )


@dataclass(frozen=True, eq=False)
class Checked:
    """What the model itself says of changed images; fields as those of `AttackResult`."""

    logits: Logits
    success: Bool[Tensor, " batch"]
    success_8bit: Bool[Tensor, " batch"]
    distances: Mapping[str, Float[Tensor, " batch"]]


def _checked(
    specimen: Specimen,
    original: Image,
    images: Image,
    labels: Label,
    clean: Logits,
    epsilon: Float[Tensor, " batch"],
    norm: str,
    at_once: int,
) -> Checked:
    far = distances(images, original)
    allowed = epsilon.to(far[norm].dtype) + SLACK
    logits = asked_again(specimen, images, far["l0"] > 0, clean, at_once)
    success = (logits.argmax(dim=1) != labels) & (far[norm] <= allowed)
    rounded = in_eight_bits(images, original, epsilon, norm)
    moved = success & (rounded != images).flatten(1).any(dim=1)
    still = asked_again(specimen, rounded, moved, logits, at_once).argmax(dim=1) != labels
    within = distances(rounded, original)[norm] <= allowed
    return Checked(logits, success, success & still & within, far)


def asked_again(
    specimen: Specimen, images: Image, which: Bool[Tensor, " batch"], known: Logits, at_once: int
) -> Logits:
    """The model's answers for some images; for the others, those known."""
    logits = known.clone()
    if which.any():
        logits[which] = answers(specimen, images[which], at_once)
    return logits
