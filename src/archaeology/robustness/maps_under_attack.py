"""Maps of the same images before and after an attack, side by side, with those of noise of the same size.

How far a map moved is the Jensen-Shannon divergence of the two maps, each divided by its sum. NaN where a map has no
evidence.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from archaeology.capture.record import unit_images
from archaeology.core.seeding import content_names
from archaeology.core.shapes import Heatmap, Image, Label, OtherImages, PixelImage
from archaeology.explain.explanation import Explanation
from archaeology.explain.method import explain_images
from archaeology.robustness.fooled import check_pairs
from archaeology.robustness.jensen_shannon import jensen_shannon
from archaeology.robustness.matched_noise import matched_noise
from archaeology.specimens.specimen import Specimen


@dataclass(frozen=True, eq=False)
class MapsUnderAttack:
    """A few images with their maps.

    Attributes:
        method: The explanation's registered name.
        formula: What it computed.
        clean: Images before the attack, in [0, 1].
        attacked: After it.
        noisy: With noise of the same norms.
        clean_map: Raw values, >= 0, of the class said of the clean image.
        attacked_map: Of the class said of the attacked image.
        noisy_map: Of the class said of the noisy image.
        clean_answer: That class.
        attacked_answer: That class.
        noisy_answer: That class.
        attack_shift: How far the map moved under attack, nats, 0 to log 2.
        noise_shift: How far under noise.
    """

    method: str
    formula: str
    clean: Image
    attacked: Image
    noisy: Image
    clean_map: Heatmap
    attacked_map: Heatmap
    noisy_map: Heatmap
    clean_answer: Label
    attacked_answer: Label
    noisy_answer: Label
    attack_shift: Float[Tensor, " batch"]
    noise_shift: Float[Tensor, " batch"]

    def describe(self) -> dict[str, object]:
        """How far each map moved, ready for JSON; the maps themselves are for figures."""

        def plain(shifts: Float[Tensor, " batch"]) -> list[float | None]:
            return [value if value == value else None for value in shifts.tolist()]

        return {
            "method": self.method,
            "formula": self.formula,
            "clean_answer": self.clean_answer.tolist(),
            "attacked_answer": self.attacked_answer.tolist(),
            "noisy_answer": self.noisy_answer.tolist(),
            "attack_shift": plain(self.attack_shift),
            "noise_shift": plain(self.noise_shift),
        }


def maps_under_attack(
    specimen: Specimen,
    clean: Image | PixelImage,
    attacked: OtherImages,
    *,
    explanation: str = "rollout",
    seed: int = 0,
) -> MapsUnderAttack:
    """Maps of a few images before and after; all of them are held at once, so give few.

    Args:
        specimen: Any model that the explanation can speak of.
        clean: Images before the attack, in [0, 1] or 8 bit.
        attacked: The same after.
        explanation: A registered method; rollout needs attention, grad_cam does not.
        seed: Of the noise.

    Raises:
        UnknownNameError: If there is no such explanation.
        ValueError: If the images make no pairs, one was not changed, or the model lacks what the method needs.
    """
    check_pairs(clean, attacked)
    clean, attacked = unit_images(clean, specimen.device), unit_images(attacked, specimen.device)
    noisy = matched_noise(clean, attacked, content_names(clean), seed)
    with torch.no_grad():
        answers = [specimen.predict(images).argmax(1) for images in (clean, attacked, noisy)]
    told = [
        explain_images(explanation, specimen, images, target)
        for images, target in zip((clean, attacked, noisy), answers, strict=True)
    ]
    clean_map, attacked_map, noisy_map = (one.heatmap.detach() for one in told)
    return MapsUnderAttack(
        method=explanation,
        formula=told[0].formula,
        clean=clean,
        attacked=attacked,
        noisy=noisy,
        clean_map=clean_map,
        attacked_map=attacked_map,
        noisy_map=noisy_map,
        clean_answer=answers[0],
        attacked_answer=answers[1],
        noisy_answer=answers[2],
        attack_shift=map_shift(told[0], told[1]),
        noise_shift=map_shift(told[0], told[2]),
    )


def map_shift(first: Explanation, second: Explanation) -> Float[Tensor, " batch"]:
    """How far each map of one lies from that of the other, nats; NaN where one has no evidence."""
    known = first.has_evidence & second.has_evidence
    one, other = (maps.heatmap.detach().flatten(1).double() for maps in (first, second))
    one, other = (values / values.sum(dim=1, keepdim=True) for values in (one, other))
    return jensen_shannon(one, other).masked_fill(~known, torch.nan)
