"""How an attack is run: it proposes images, and shared code checks what it was given and what it found.

An attack is `draw(victim, aim, **parameters) -> candidates`. It may be careless: candidates are brought within epsilon
and into [0, 1] here, and judged by the model itself, in a pass of its own and again after rounding to 8 bits.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from inspect import signature
from typing import Any, TypeVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from archaeology.attacks.norms import check_norm, distances, project
from archaeology.attacks.result import AttackResult
from archaeology.attacks.victim import Victim
from archaeology.capture.record import unit_images
from archaeology.core.halving import in_halves
from archaeology.core.registry import Registry, unknown_name
from archaeology.core.seeding import content_names, torch_generator
from archaeology.core.shapes import Image, Label, Logits, PixelImage
from archaeology.specimens.specimen import Specimen

SLACK = 1e-6  # by which rounding may carry a change beyond epsilon
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
        draw: `draw(victim, aim, **parameters) -> candidates`.
        norms: That it can be bounded by or measured in, its usual one first.
        bounded: Whether it takes an epsilon; one that does not looks for the smallest change.
        uses_gradients: Whether it follows gradients, or only asks for answers.
    """

    draw: Callable[..., Image]
    norms: tuple[str, ...]
    bounded: bool
    uses_gradients: bool


attacks: Registry[Attack] = Registry("attack")


def attack(
    name: str, *, norms: tuple[str, ...], bounded: bool = True, uses_gradients: bool = True
) -> Callable[[Draw], Draw]:
    """Decorator for `draw(victim, aim, **parameters) -> candidates`; see `Attack`."""

    def shelve(draw: Draw) -> Draw:
        attacks.register(name)(Attack(draw, norms, bounded, uses_gradients))
        return draw

    return shelve


def attack_images(
    name: str,
    specimen: Specimen,
    images: Image | PixelImage,
    labels: Label,
    *,
    epsilon: float | Float[Tensor, " batch"] | None = None,
    norm: str | None = None,
    seed: int = 0,
    at_once: int = 256,
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
    images = unit_images(images, specimen.device)
    clean = answers(specimen, images, at_once)
    labels = checked_labels(labels, clean)
    size = checked_epsilon(name, chosen, epsilon, norm, images)
    standing = (clean.argmax(dim=1) == labels).nonzero()[:, 0]
    found = images.clone()
    spent = torch.zeros(2, len(images), dtype=torch.long)
    if len(standing):
        names = tuple(content_names(images[standing]))
        aim = Aim(images[standing], labels[standing], size[standing], norm, names, seed)
        victim = Victim(specimen, aim.images, at_once=at_once)
        candidates = chosen.draw(victim, aim, **parameters).detach()
        found[standing] = project(
            candidates.nan_to_num(0.5), aim.images, aim.epsilon.clamp(max=candidates[0].numel()), norm
        )
        spent[:, standing.cpu()] = torch.stack([victim.gradients, victim.evaluations])
    return verified(name, specimen, images, found, labels, clean, size, norm, parameters, spent, at_once)


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
    """Ask the model itself about the images found, as they are and rounded to 8 bits."""
    logits = answers(specimen, images, at_once)
    rounded = answers(specimen, (images * 255).round() / 255, at_once)
    far = distances(images, original)
    inside: Bool[Tensor, " batch"] = far[norm] <= epsilon.double() + SLACK
    return AttackResult(
        attack=name,
        norm=norm,
        epsilon=epsilon,
        parameters=dict(parameters),
        original=original,
        images=images,
        labels=labels,
        clean_logits=clean,
        logits=logits,
        success=(logits.argmax(dim=1) != labels) & inside,
        success_8bit=(rounded.argmax(dim=1) != labels) & inside,
        distances=far,
        gradients=spent[0],
        evaluations=spent[1],
    )


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


@torch.no_grad()
def answers(specimen: Specimen, images: Image, at_once: int) -> Logits:
    """The model's own logits, at least in float32.

    Raises:
        ValueError: If one is not finite.
    """
    parts = in_halves(lambda some: specimen.predict(images[some]), len(images), at_once)
    logits = torch.cat([part for _, part in parts])
    if not logits.isfinite().all():
        bad = int((~logits.isfinite().all(dim=1)).sum())
        raise ValueError(
            f"an attack needs finite answers, but {specimen.name} gives NaN or infinity for {bad} of {len(logits)} "
            "images; mend the model, or run it in float32."
        )
    return logits if logits.dtype == torch.float64 else logits.float()


def checked_labels(labels: Label, logits: Logits) -> Label:
    """Labels on the model's device.

    Raises:
        ValueError: If there is not one for each image, or one is no class of the model.
    """
    if labels.ndim != 1 or len(labels) != len(logits) or labels.is_floating_point():
        raise ValueError(
            f"labels must be one whole number for each of {len(logits)} images, but got {labels.dtype} of shape "
            f"{tuple(labels.shape)}."
        )
    labels = labels.to(logits.device, torch.long)
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= logits.shape[1]:
        raise ValueError(
            f"labels must be classes of the model, 0 to {logits.shape[1] - 1}, but got {low} to {high}; "
            "do the data and the model have the same classes?"
        )
    return labels


def checked_epsilon(
    name: str, chosen: Attack, epsilon: Any, norm: str, images: Image
) -> Float[Tensor, " batch"]:
    """An epsilon for each image, infinite for an attack that takes none.

    Raises:
        ValueError: If it is missing or not wanted, below zero, not finite, or seems to be meant in 0-255 units.
    """
    if not chosen.bounded:
        if epsilon is not None:
            raise ValueError(
                f"{name} looks for the smallest change and takes no epsilon, but got {epsilon=}; leave it out, or use "
                "a bounded attack such as pgd."
            )
        return torch.full((len(images),), torch.inf, device=images.device)
    if epsilon is None:
        raise ValueError(f"{name} needs epsilon, the largest change of images in [0, 1], such as 8/255.")
    size = torch.as_tensor(epsilon, dtype=images.dtype, device=images.device)
    if size.ndim > 1 or (size.ndim == 1 and len(size) != len(images)):
        raise ValueError(
            f"epsilon must be one number, or one for each of {len(images)} images, but got shape {tuple(size.shape)}."
        )
    largest = 1.0 if norm == "linf" else images[0].numel() ** 0.5
    if not (size.isfinite().all() and (size >= 0).all()):
        raise ValueError(f"epsilon must be a finite number >= 0, but got {epsilon}.")
    if (size > largest).any():
        meant = float(size.max())
        raise ValueError(
            f"epsilon in {norm} must be at most {largest:g}, because images lie in [0, 1], but got {meant:g}; "
            f"did you mean {meant:g}/255?"
        )
    return size.expand(len(images)).clone()
