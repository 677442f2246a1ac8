"""Do changes that break one model break another? Every model's adversarial images, tried on all the others.

Counted are images that both models are right about before. An attack that stops as soon as its own model is wrong ends
just across that model's border, which no other shares; so here every image climbs all its steps, also after it has
succeeded. And since a change of that size may break a model whatever its direction, noise of the same sizes (each
attack's own changes, dealt out to other places with random signs) is tried too, and taken off.

Source: `papernot2016transferability`. Differs: PGD (`madry2018towards`), and noise as a control.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool

from archaeology.attacks.checks import answers, attackable, checked_epsilon, checked_labels
from archaeology.attacks.method import Aim
from archaeology.attacks.norms import check_norm, each, project, random_start, steepest
from archaeology.attacks.victim import Victim
from archaeology.core.intervals import Interval, wilson
from archaeology.core.many import paired_share
from archaeology.core.seeding import content_names, derived_seed
from archaeology.core.shapes import Image, Label, PixelImage
from archaeology.core.storage import plain_json
from archaeology.robustness.curve import check_names
from archaeology.robustness.matched_noise import matched_noise
from archaeology.robustness.written import written
from archaeology.specimens.specimen import Specimen


@dataclass(frozen=True, eq=False)
class TransferMatrix:
    """Which images of which model break which other.

    Attributes:
        specimens: Names of the models.
        norm: Of the changes.
        epsilon: Their largest size, in units of images in [0, 1].
        steps: Of the attack.
        correct: Which images each model is right about before.
        broken: Whether the target is wrong about the image that was changed against the source.
        broken_by_noise: The same for noise of the same sizes.
        seed: Of everything random.
    """

    specimens: tuple[str, ...]
    norm: str
    epsilon: float
    steps: int
    correct: Bool[np.ndarray, "specimen image"]
    broken: Bool[np.ndarray, "source target image"]
    broken_by_noise: Bool[np.ndarray, "source target image"]
    seed: int

    def both(self, source: int, target: int) -> Bool[np.ndarray, " image"]:
        """Which images both models are right about before."""
        return self.correct[source] & self.correct[target]

    def success(self, source: int, target: int) -> Interval | None:
        """Share of the images both are right about that break the target; None where there are none."""
        counted = self.broken[source, target][self.both(source, target)]
        return wilson(int(counted.sum()), len(counted)) if len(counted) else None

    def table(self) -> list[dict[str, object]]:
        """One row for each source and target, also of a model on itself.

        Keys: `source, target, n` (images that both are right about), and, where n > 0, `success` and `noise` with
        Wilson's intervals and `beyond_noise` (success minus noise) with a paired one, in `_low` and `_high`.
        """
        rows: list[dict[str, object]] = []
        for source, target in np.ndindex(len(self.specimens), len(self.specimens)):
            counted = self.both(source, target)
            n = int(counted.sum())
            row: dict[str, object] = {
                "source": self.specimens[source],
                "target": self.specimens[target],
                "n": n,
            }
            if n:
                attacked, noisy = (
                    one[source, target][counted] for one in (self.broken, self.broken_by_noise)
                )
                row |= written("success", wilson(int(attacked.sum()), n))
                row |= written("noise", wilson(int(noisy.sum()), n))
                row |= written("beyond_noise", paired_share(attacked, noisy))
            rows.append(row)
        return rows

    def describe(self) -> dict[str, object]:
        """The table and how it was made, ready for JSON."""
        return plain_json(
            {
                "specimens": self.specimens,
                "norm": self.norm,
                "epsilon": self.epsilon,
                "steps": self.steps,
                "seed": self.seed,
                "n": self.correct.shape[1],
                "table": self.table(),
            }
        )


def transfer_matrix(
    specimens: Sequence[Specimen],
    images: Image | PixelImage,
    labels: Label,
    *,
    epsilon: float = 8 / 255,
    norm: str = "linf",
    steps: int = 20,
    seed: int = 0,
    at_once: int = 256,
) -> TransferMatrix:
    """Attack every model, and try what was found on all of them.

    Args:
        specimens: Any models that tell the same classes apart, with names of their own; left as they were.
        images: Floats in [0, 1] or 8 bit; changed in the size they are given.
        labels: The right class of each image.
        epsilon: The largest change, in units of images in [0, 1].
        norm: "linf" or "l2".
        steps: Gradients for each image, all of them taken.
        seed: Of everything random.
        at_once: Images in one pass; halved where memory runs out.

    Raises:
        UnknownNameError: If there is no such norm.
        ValueError: As `attack_images`, or if there is no model, two have one name, or `steps` is less than 1.

    References:
        `papernot2016transferability`, `madry2018towards`. Differs: see the module.
    """
    check_names([specimen.name for specimen in specimens])
    check_norm(norm)
    if steps < 1:
        raise ValueError(f"steps must be at least 1, but got {steps=}.")
    images = attackable(images, specimens[0].device)
    size = checked_epsilon("transfer", epsilon, norm, images, bounded=True)
    with torch.random.fork_rng([images.device] if images.is_cuda else []):
        torch.manual_seed(derived_seed(seed, "transfer"))
        correct = torch.zeros(len(specimens), len(images), dtype=torch.bool)
        for row, specimen in enumerate(specimens):
            logits = answers(specimen, images, at_once)
            labels = checked_labels(labels, logits)
            correct[row] = (logits.argmax(dim=1) == labels).cpu()
        aim = Aim(images, labels, size, norm, tuple(content_names(images)), seed)
        attacked = torch.zeros(2, len(specimens), len(specimens), len(images), dtype=torch.bool)
        for source, specimen in enumerate(specimens):
            changed = climbed(Victim(specimen, images, at_once=at_once), aim, steps)
            for kind, tried in enumerate((changed, matched_noise(images, changed, aim.names, seed))):
                for target, other in enumerate(specimens):
                    wrong = answers(other, tried, at_once).argmax(dim=1) != labels.to(other.device)
                    attacked[kind, source, target] = wrong.cpu()
    return TransferMatrix(
        tuple(specimen.name for specimen in specimens),
        norm,
        epsilon,
        steps,
        correct.numpy(),
        attacked[0].numpy(),
        attacked[1].numpy(),
        seed,
    )


def climbed(victim: Victim, aim: Aim, steps: int) -> Image:
    """All images after all steps of PGD, whether they broke the model long ago or never."""
    images = random_start(aim.normal("start", 0), aim.images, aim.epsilon, aim.norm)
    for _ in range(steps):
        gradient = victim.gradient(images, aim.labels, aim.rows).gradient
        step = each(2.5 / steps * aim.epsilon) * steepest(gradient, aim.norm)
        images = project(images + step, aim.images, aim.epsilon, aim.norm)
    return images
