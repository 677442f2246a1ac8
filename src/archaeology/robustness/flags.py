"""May an attack's failure be believed? Signs that a model hides its gradients instead of being robust.

An attack that follows gradients fails on a model without useful ones, and robust accuracy then measures nothing. Each
sign known from defences that fell (`athalye2018obfuscated`, `carlini2019evaluating`, `tramer2020adaptive`) is looked
for by an attack of its own, counted per image, tested, and put into a sentence. No flag is no proof of robustness.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from archaeology.attacks.checks import answers, checked_epsilon, checked_labels
from archaeology.attacks.method import Aim, all_parameters, attack_images, attacks
from archaeology.attacks.norms import project, random_start
from archaeology.attacks.victim import Victim
from archaeology.capture.record import unit_images
from archaeology.core.seeding import content_names, derived_seed
from archaeology.core.shapes import Image, Label, PixelImage
from archaeology.core.storage import plain_json
from archaeology.robustness.suspicion import Suspicion, judged, of_pairs, of_share
from archaeology.specimens.specimen import Specimen

Broken = Bool[np.ndarray, " image"]
ALLOWED: Mapping[str, float] = {
    "random": 0.0,
    "vanishing gradient": 0.01,
    "unbounded attack fails": 0.02,
    "rises with epsilon": 0.02,
    "weaker than noise": 0.02,
    "weaker than black box": 0.02,
    "more steps help": 0.05,
    "another loss helps": 0.1,  # where cross-entropy saturates a little, as on any sure model, 0.03 to 0.05 are usual
}
UNSTEADY = 1e-3  # of the largest logit: by which two answers to one image must differ to be two
NOISES = 10
MORE = 5  # times the steps
QUERIES = 300  # of the black box: masked gradients show long before it is spent


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
            about no image, or epsilon is 0.

    References:
        `carlini2019evaluating`, `athalye2018obfuscated`, `tramer2020adaptive`, `croce2020reliable`.
    """
    chosen = attacks.get(attack)
    if not (chosen.bounded and chosen.uses_gradients):
        raise ValueError(
            f"attack must follow gradients within an epsilon, such as pgd, to have them checked, but got {attack}."
        )
    parameters = all_parameters(attack, chosen, parameters)
    images = unit_images(images, specimen.device)
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
        trial = _Trial(
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


@dataclass(frozen=True, eq=False)
class _Trial:
    specimen: Specimen
    images: Image
    labels: Label
    epsilon: float
    norm: str
    attack: str
    black_box: str
    parameters: Mapping[str, object]
    seed: int
    at_once: int

    @property
    def largest(self) -> float:
        """The size beyond which an epsilon no longer bounds anything."""
        return 1.0 if self.norm == "linf" else self.images[0].numel() ** 0.5

    def of_the_model(self) -> Iterator[Suspicion]:
        """What the model's answers and gradients say by themselves."""
        first, second = (answers(self.specimen, self.images, self.at_once) for _ in range(2))
        change = (first - second).abs().amax(dim=1) > UNSTEADY * first.abs().max()
        yield of_share(
            "random",
            f"asked twice, the model answers {int(change.sum())} of {len(change)} images differently; attack what it "
            "answers on average",
            change.cpu().numpy(),
            ALLOWED["random"],
        )
        none = self.without_gradient()
        yield of_share(
            "vanishing gradient",
            f"the gradient of the cross-entropy is exactly 0 for {int(none.sum())} of {len(none)} images, so nothing "
            "can follow it; use the margin as loss, or an attack without gradients",
            none,
            ALLOWED["vanishing gradient"],
        )

    def of_the_attack(self) -> Iterator[Suspicion]:
        """What weaker and stronger attacks break, compared."""
        sizes = [self.epsilon / 2, self.epsilon, min(2 * self.epsilon, self.largest)]
        broken = [self.broken(size) for size in sizes]
        for number in (0, 1):
            low, high = (
                f"{size * 255:.3g}/255" if self.norm == "linf" else f"{size:.3g}"
                for size in sizes[number:][:2]
            )
            yield self.compared(
                "rises with epsilon", f"within {low}", broken[number], f"within {high}", broken[number + 1]
            )
        yield self.compared(
            "weaker than noise", f"{NOISES} draws of noise", self.noise(), self.attack, broken[1]
        )
        few = (
            {"queries": QUERIES}
            if "queries" in all_parameters(self.black_box, attacks.get(self.black_box), {})
            else {}
        )
        yield self.compared(
            "weaker than black box",
            f"{self.black_box} without gradients",
            self.broken(self.epsilon, self.black_box, few),
            self.attack,
            broken[1],
        )
        steps = self.parameters.get("steps")
        if isinstance(steps, int):
            more = self.broken(self.epsilon, changes={"steps": MORE * steps})
            yield self.compared("more steps help", f"{MORE * steps} steps", more, f"{steps}", broken[1])
        if self.parameters.get("loss") == "cross_entropy":
            other = self.broken(self.epsilon, changes={"loss": "margin"})
            yield self.compared("another loss helps", "the margin as loss", other, "cross-entropy", broken[1])
        changes = {"start": "image", "restarts": 1} if "start" in self.parameters else {}
        stands = ~self.broken(self.largest, changes=changes)
        yield of_share(
            "unbounded attack fails",
            f"free to change the whole image, {self.attack} still leaves {int(stands.sum())} of {len(stands)} images "
            "as they were answered",
            stands,
            ALLOWED["unbounded attack fails"],
        )

    def compared(self, name: str, weak: str, by_weak: Broken, strong: str, by_strong: Broken) -> Suspicion:
        """What ought to be weaker against what ought to be stronger."""
        said = f"{weak} breaks {int(by_weak.sum())} of {len(by_weak)} images, {strong} {int(by_strong.sum())}"
        return of_pairs(name, said, by_weak, by_strong, ALLOWED[name])

    def broken(
        self, size: float, attack: str | None = None, changes: Mapping[str, object] | None = None
    ) -> Broken:
        """Which images an attack breaks: the one in question unless another is named."""
        parameters = {**self.parameters, **(changes or {})} if attack is None else (changes or {})
        found = attack_images(
            attack or self.attack,
            self.specimen,
            self.images,
            self.labels,
            epsilon=size,
            norm=self.norm,
            seed=self.seed,
            at_once=self.at_once,
            **parameters,
        )
        return found.success.cpu().numpy()

    def without_gradient(self) -> Broken:
        """Where the cross-entropy does not change at all with the image."""
        victim = Victim(self.specimen, self.images, at_once=self.at_once)
        gradient = victim.gradient(self.images, self.labels, torch.arange(len(self.images))).gradient
        return (gradient.flatten(1).abs().amax(dim=1) == 0).cpu().numpy()

    def noise(self) -> Broken:
        """Which images change sides under at least one of some draws of the largest noise."""
        size: Float[Tensor, " batch"] = torch.full_like(self.images[:, 0, 0, 0], self.epsilon)
        aim = Aim(self.images, self.labels, size, self.norm, tuple(content_names(self.images)), self.seed)
        broken = torch.zeros(len(self.images), dtype=torch.bool, device=self.images.device)
        for number in range(NOISES):
            drawn = aim.normal("noise", number)
            if self.norm == "linf":
                noisy = project(self.images + self.epsilon * drawn.sign(), self.images, size, self.norm)
            else:
                noisy = random_start(drawn, self.images, size, self.norm)
            broken |= answers(self.specimen, noisy, self.at_once).argmax(dim=1) != self.labels
        return broken.cpu().numpy()
