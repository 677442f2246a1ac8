"""The parts of a survey, in the order of a report: each asks one module, and writes down what it says."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor

from archaeology.attacks.checks import answers, attackable
from archaeology.attacks.method import all_parameters, attack_images, attacks
from archaeology.attacks.result import AttackResult
from archaeology.core.pictures import png_text
from archaeology.core.shapes import Image, Label, PixelImage
from archaeology.data.worlds.cue_conflict import CueConflict
from archaeology.data.worlds.cue_scenes import SHAPE_NAMES
from archaeology.explain.method import title_of
from archaeology.robustness.attention_shift import attention_shift
from archaeology.robustness.carriers import Carriers, find_carriers
from archaeology.robustness.corruptions import corruption_errors
from archaeology.robustness.curve import robustness_curves
from archaeology.robustness.flags import check_gradients
from archaeology.robustness.fooled import Fooled, fooled_by
from archaeology.robustness.fourier import fourier_sensitivity
from archaeology.robustness.maps_under_attack import maps_under_attack
from archaeology.robustness.pass_curves import pass_curves
from archaeology.robustness.patch_orders import default_explanation
from archaeology.robustness.patches import patch_robustness
from archaeology.robustness.phase_bias import phase_bias
from archaeology.robustness.reattack import reattack
from archaeology.robustness.shape_bias import shape_bias
from archaeology.robustness.spectrum import spectrum_of_change
from archaeology.robustness.survey import NotApplicableError, Subject, by_name, parts
from archaeology.robustness.transfer import transfer_matrix
from archaeology.specimens.specimen import Specimen

SECOND = {
    "loss": "margin"
}  # what still stands just below is tried with: cross-entropy stalls where a model is sure
ATTACK = "pgd"  # of the parts that attack once
MOST_FREQUENCIES = 32  # along a side of the image: of larger ones a grid of them is asked
SMALLEST = 32  # pixels along a side that corruptions are defined for
TAKEN_OUT = 1 / 8  # of the heads, before the model is attacked anew
AMPLIFIED = 0.5  # how far from middle grey the largest change is drawn


@parts.register("curves")
def curves(subject: Subject) -> list[Mapping[str, Any]]:
    """Accuracy against epsilon, for each attack and norm."""
    found: list[Mapping[str, Any]] = []
    for attack, norm in subject.attacks:
        together = robustness_curves(
            subject.specimens,
            *subject.first(subject.depth.curves),
            attack=attack,
            norm=norm,
            epsilons=subject.epsilons,
            again=SECOND if "loss" in all_parameters(attack, attacks.get(attack), {}) else None,
            seed=subject.seed,
            at_once=subject.at_once,
        )
        found.append({"attack": attack, "norm": together.curves[0].found.norm, **together.describe()})
    return found


@parts.register("gradients")
def gradients(subject: Subject) -> Mapping[str, Any]:
    """Whether the curves can be believed: signs of masked gradients."""
    return gradients_in(subject, "linf", subject.epsilon)


@parts.register("gradients_l2")
def gradients_by_length(subject: Subject) -> Mapping[str, Any]:
    """The same of changes bounded in length, where there are curves of such: half as long as those of the former."""
    norms = {norm or attacks.get(name).norms[0] for name, norm in subject.attacks}
    if "l2" not in norms:
        raise NotApplicableError("no curve was made in L2")
    return gradients_in(subject, "l2", subject.epsilon * subject.images[0].numel() ** 0.5 / 2)


def gradients_in(subject: Subject, norm: str, epsilon: float) -> Mapping[str, Any]:
    """Signs of masked gradients within changes of this size."""
    images, labels = subject.first(subject.depth.gradients)
    followed = (name for name, _ in subject.attacks if can_be_checked(name, norm))
    attack = next(followed, ATTACK)

    def of(specimen: Specimen) -> Mapping[str, Any]:
        said = answers(specimen, attackable(images, specimen.device), subject.at_once).argmax(dim=1)
        if not (said.cpu() == labels.cpu()).any():
            raise NotApplicableError("the model is right about none of the images")
        return check_gradients(
            specimen,
            images,
            labels,
            attack=attack,
            norm=norm,
            epsilon=epsilon,
            seed=subject.seed,
            at_once=subject.at_once,
        ).describe()

    return by_name(subject.specimens, of)


@parts.register("transfer")
def transfer(subject: Subject) -> Mapping[str, Any]:
    """Adversarial images of each model tried on the others."""
    if len(subject.specimens) < 2:
        raise NotApplicableError("there is only one model")
    return transfer_matrix(
        subject.specimens,
        *subject.first(subject.depth.transfer),
        epsilon=subject.epsilon,
        seed=subject.seed,
        at_once=subject.at_once,
    ).describe()


@parts.register("fourier")
def fourier(subject: Subject) -> Mapping[str, Any]:
    """Noise of every single frequency."""
    images, labels = subject.first(subject.depth.fourier)
    every = max(1, math.ceil(max(images.shape[-2:]) / MOST_FREQUENCIES))
    return fourier_sensitivity(
        subject.specimens, images, labels, every=every, seed=subject.seed, at_once=subject.at_once
    ).describe()


@parts.register("passes")
def passes(subject: Subject) -> Mapping[str, Any]:
    """Without fine patterns, and without coarse ones."""
    images, labels = subject.first(subject.depth.passes)
    return pass_curves(subject.specimens, images, labels, at_once=subject.at_once).describe()


@parts.register("spectrum")
def spectrum(subject: Subject) -> Mapping[str, Any]:
    """Which frequencies each model's perturbations are made of."""
    return of_turned(
        subject,
        subject.specimens,
        subject.depth.attention,
        lambda specimen, fooled: spectrum_of_change(fooled.clean, fooled.attacked).describe(),
    )


@parts.register("corruptions")
def corruptions(subject: Subject) -> Mapping[str, Any]:
    """Noise, blur, weather, files, at five severities."""
    images, labels = subject.first(subject.depth.corruptions)
    if min(images.shape[-2:]) < SMALLEST:
        raise NotApplicableError(f"corruptions are defined for images of {SMALLEST} pixels and more")
    return corruption_errors(
        subject.specimens, images, labels, seed=subject.seed, at_once=subject.at_once
    ).describe()


@parts.register("shape")
def shape(subject: Subject) -> Mapping[str, Any]:
    """Shape against texture: of textured shapes where the models know these, else of phases with other amplitudes."""
    count = subject.depth.shape
    if all(tuple(one.classes[: len(SHAPE_NAMES)]) == SHAPE_NAMES for one in subject.specimens):
        scenes = CueConflict("conflict").generate(0, count)
        found = shape_bias(subject.specimens, scenes, seed=subject.seed, at_once=subject.at_once)
        return {"kind": "cue_conflict", **found.describe()}
    images, labels = subject.first(count)
    if len(labels.unique()) < 2:
        raise NotApplicableError("all images are of one class")
    classes = [str(name) for name in subject.specimens[0].classes]
    found = phase_bias(subject.specimens, images, labels, classes, seed=subject.seed, at_once=subject.at_once)
    return {"kind": "phase", **found.describe()}


@parts.register("patches")
def patches(subject: Subject) -> Mapping[str, Any]:
    """What is left without some of the patches."""
    images, labels = subject.first(subject.depth.patches)
    return patch_robustness(subject.specimens, images, labels, seed=subject.seed).describe()


@parts.register("attention")
def attention(subject: Subject) -> Mapping[str, Any]:
    """How far attention moves under attack, and under noise as large."""
    return of_turned(
        subject,
        subject.transformers,
        subject.depth.attention,
        lambda specimen, fooled: attention_shift(
            specimen, fooled.clean, fooled.attacked, seed=subject.seed
        ).describe(),
    )


@parts.register("carriers")
def carriers(subject: Subject) -> Mapping[str, Any]:
    """Which heads, put right, bring the answer back."""
    return of_turned(
        subject,
        subject.transformers,
        subject.depth.carriers,
        lambda specimen, fooled: carriers_of(subject, specimen, fooled).describe(),
    )


@parts.register("reattack")
def without_carriers(subject: Subject) -> Mapping[str, Any]:
    """Without the heads that rescue most images, attacked anew, on images that these were not chosen by."""

    def measured(specimen: Specimen, fooled: Fooled) -> Mapping[str, Any]:
        found = carriers_of(subject, specimen, fooled)
        images, labels = subject.others(subject.depth.reattack, subject.depth.carriers)
        before = attack_once(subject, specimen, images, labels)
        heads = found.strongest(max(1, round(TAKEN_OUT * sum(found.heads))))
        try:
            return reattack(specimen, before, heads, seed=subject.seed, at_once=subject.at_once).describe()
        except ValueError as error:  # a model of one head has no others to take out instead
            raise NotApplicableError(str(error)) from error

    return of_turned(subject, subject.transformers, subject.depth.carriers, measured)


@parts.register("pictures")
def pictures(subject: Subject) -> Mapping[str, Any]:
    """A few images that an attack turned, with the models' maps before and after."""
    return {
        "images": [row for specimen in subject.specimens for row in pictures_of(subject, specimen)],
        "epsilon": subject.epsilon,
    }


def can_be_checked(name: str, norm: str = "linf") -> bool:
    """Whether an attack follows gradients within a bound in this norm, so that signs of masked ones can be sought."""
    chosen = attacks.get(name)
    return chosen.bounded and chosen.uses_gradients and norm in chosen.norms


def attacked(subject: Subject, specimen: Specimen, count: int) -> AttackResult:
    """The first images after the survey's own attack."""
    return attack_once(subject, specimen, *subject.first(count))


def attack_once(
    subject: Subject, specimen: Specimen, images: Image | PixelImage, labels: Label
) -> AttackResult:
    """Some images after the survey's own attack."""
    return attack_images(
        ATTACK,
        specimen,
        images,
        labels,
        epsilon=subject.epsilon,
        norm="linf",
        seed=subject.seed,
        at_once=subject.at_once,
    )


def of_turned(
    subject: Subject,
    specimens: Sequence[Specimen],
    count: int,
    measure: Callable[[Specimen, Fooled], Mapping[str, Any]],
) -> Mapping[str, Any]:
    """What is measured of each model on those of the first images that the survey's own attack turned."""
    return by_name(specimens, lambda one: measure(one, turned(attacked(subject, one, count))))


def carriers_of(subject: Subject, specimen: Specimen, fooled: Fooled) -> Carriers:
    """Each head put right in turn."""
    return find_carriers(specimen, fooled.clean, fooled.attacked, fooled.labels, seed=subject.seed)


def turned(result: AttackResult) -> Fooled:
    """The images whose answer the attack changed.

    Raises:
        NotApplicableError: If there are fewer than two, which say nothing.
    """
    count = int((result.success & result.clean_correct).sum())
    if count < 2:
        raise NotApplicableError(
            f"the attack turned {count} of {len(result)} images, and at least 2 are needed; a larger epsilon or more "
            "images would give some"
        )
    return fooled_by(result)


def pictures_of(subject: Subject, specimen: Specimen) -> list[dict[str, Any]]:
    """Rows of one model's pictures: the first images it was right about and is no longer."""
    count = max(1, subject.depth.pictures // len(subject.specimens))
    try:
        fooled = turned(attacked(subject, specimen, 8 * count))
    except NotApplicableError:
        return []
    some = slice(0, count)
    method = default_explanation(specimen)
    maps = maps_under_attack(
        specimen, fooled.clean[some], fooled.attacked[some], explanation=method, seed=subject.seed
    )
    classes = list(specimen.classes)

    def called(number: Tensor) -> str:
        return str(classes[int(number)]) if int(number) < len(classes) else f"class {int(number)}"

    rows: list[dict[str, Any]] = []
    for place in range(len(maps.clean)):
        change = maps.attacked[place] - maps.clean[place]
        factor = AMPLIFIED / max(float(change.abs().max()), 1e-12)
        rows.append(
            {
                "id": subject.names[int(fooled.rows[place])],
                "specimen": specimen.name,
                "attack": ATTACK,
                "norm": "linf",
                "epsilon": subject.epsilon,
                "answer_before": called(maps.clean_answer[place]),
                "answer_after": called(maps.attacked_answer[place]),
                "image": _png(maps.clean[place]),
                "adversarial": _png(maps.attacked[place]),
                "change": _png(0.5 + factor * change),
                "amplified": factor,
                "method": method,
                "title": title_of(method),
                "map_before": maps.clean_map[place].double().cpu().tolist(),
                "map_after": maps.attacked_map[place].double().cpu().tolist(),
                "map_shift": float(maps.attack_shift[place]),
            }
        )
    return rows


def _png(image: Image | Tensor) -> str:
    pixels = (image.detach().clamp(0, 1) * 255).round().byte().movedim(0, -1).cpu().numpy()
    return png_text(pixels)
