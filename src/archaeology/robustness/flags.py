"""May an attack's failure be believed? Signs that a model hides its gradients instead of being robust.

An attack that follows gradients fails on a model without useful ones, and robust accuracy then measures nothing. Each
sign known from defences that fell (`athalye2018obfuscated`, `carlini2019evaluating`, `tramer2020adaptive`) is looked
for by an attack of its own, counted per image, tested, and put into a sentence. No flag is no proof of robustness.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import torch

from archaeology.attacks.checks import answers, attackable, checked_epsilon, checked_labels
from archaeology.attacks.method import all_parameters, attacks
from archaeology.core.seeding import derived_seed
from archaeology.core.shapes import Image, Label, PixelImage
from archaeology.core.storage import plain_json
from archaeology.robustness.gradient_trial import Trial
from archaeology.robustness.suspicion import Suspicion, judged
from archaeology.specimens.specimen import Specimen


@dataclass(frozen=True, eq=False)
class GradientReport:
    """What speaks for hidden gradients, and what was asked without finding it.

    Attributes:
        specimen: Name of the model.
        attack: That the report is about.
        norm: Of its changes.
        epsilon: Their largest size, in units of images in [0, 1].
        parameters: Of the attack.
        suspicions: Every question asked, raised or not.
        level: Of significance, after correction.
        n: Images looked at; the model is right about all of them.
        seed: Of everything random.
    """

    specimen: str
    attack: str
    norm: str
    epsilon: float
    parameters: Mapping[str, object]
    suspicions: tuple[Suspicion, ...]
    level: float
    n: int
    seed: int

    @property
    def flags(self) -> tuple[str, ...]:
        """A sentence for each suspicion that is raised; none where nothing speaks for hidden gradients."""
        return tuple(one.sentence for one in self.suspicions if one.raised)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the suspicions raised, each once."""
        return tuple(dict.fromkeys(one.name for one in self.suspicions if one.raised))

    @property
    def may_be_masked(self) -> bool:
        """Whether gradients may be masked, so that robust accuracy says little."""
        return bool(self.flags)

    def describe(self) -> dict[str, object]:
        """Everything, ready for JSON."""
        written = asdict(self) | {"may_be_masked": self.may_be_masked, "flags": self.flags}
        return plain_json(written)


def check_gradients(
    specimen: Specimen,
    images: Image | PixelImage,
    labels: Label,
    *,
    epsilon: float = 8 / 255,
    norm: str = "linf",
    attack: str = "pgd",
    black_box: str = "square",
    level: float = 0.01,
    at_most: int = 128,
    seed: int = 0,
    at_once: int = 256,
    **parameters: object,
) -> GradientReport:
    """Look for signs that gradients are masked.

    Args:
        specimen: Any model that can be differentiated; it is left as it was.
        images: Floats in [0, 1] or 8 bit.
        labels: The right class of each image.
        epsilon: Size at which the attack is compared with weaker ones; choose one that leaves some images standing.
        norm: "linf" or "l2".
        attack: A registered one that follows gradients within an epsilon.
        black_box: A registered one that asks for answers alone, 300 per image.
        level: Chance of a single false alarm that is accepted, all questions together.
        at_most: Of the images, only the first so many that the model is right about are looked at.
        seed: Of everything random.
        at_once: Images in one pass; halved where memory runs out.
        parameters: Passed on to the attack.

    Raises:
        UnknownNameError: If there is no such attack, norm or parameter.
        ValueError: As `attack_images`, or if the attack follows no gradients or takes no epsilon, the model is right
            about no image, epsilon or `at_most` is 0, or the
            level impossible.

    References:
        `carlini2019evaluating`, `athalye2018obfuscated`, `tramer2020adaptive`, `croce2020reliable`.
    """
    if at_most < 1 or not 0 < level < 1:
        raise ValueError(
            f"at_most must be at least 1 and level lie between 0 and 1, such as 0.01, but got {at_most=}, {level=}."
        )
    chosen = attacks.get(attack)
    if not (chosen.bounded and chosen.uses_gradients):
        raise ValueError(
            f"attack must follow gradients within an epsilon, such as pgd, to have them checked, but got {attack}."
        )
    parameters = all_parameters(attack, chosen, parameters)
    images = attackable(images, specimen.device)
    if not float(checked_epsilon(attack, epsilon, norm, images, bounded=True)[0]) > 0:
        raise ValueError(
            f"epsilon must be above 0 for an attack to be checked, such as 8/255, but got {epsilon}."
        )
    with torch.random.fork_rng([images.device] if images.is_cuda else []):
        torch.manual_seed(derived_seed(seed, "check gradients"))
        clean = answers(specimen, images, at_once)
        labels = checked_labels(labels, clean)
        right = (clean.argmax(dim=1) == labels).nonzero()[:at_most, 0]
        if not len(right):
            raise ValueError(
                f"check_gradients needs an image that {specimen.name} is right about, but it is wrong about all "
                f"{len(images)}; are the labels those of its classes?"
            )
        trial = Trial(
            specimen,
            images[right],
            labels[right],
            epsilon,
            norm,
            attack,
            black_box,
            parameters,
            seed,
            at_once,
        )
        found = [*trial.of_the_model(), *trial.of_the_attack()]
    return GradientReport(
        specimen.name, attack, norm, epsilon, parameters, judged(found, level), level, len(right), seed
    )
