"""The images an attack turned: right before, wrong after. What is asked of attention and heads is asked on these."""

from dataclasses import dataclass

from jaxtyping import Int
from torch import Tensor

from archaeology.attacks.result import AttackResult
from archaeology.core.shapes import Image, Label, PixelImage


@dataclass(frozen=True, eq=False)
class Fooled:
    """Images before and after, pair by pair.

    Attributes:
        rows: Which images of the attack they are.
        clean: Before, in [0, 1].
        attacked: After.
        labels: What is right.
        given: What the model says after.
    """

    rows: Int[Tensor, " batch"]
    clean: Image
    attacked: Image
    labels: Label
    given: Label

    def __len__(self) -> int:
        return len(self.rows)


def fooled_by(result: AttackResult) -> Fooled:
    """The images that the model knew before and does not know after the attack.

    Raises:
        ValueError: If there is none.
    """
    rows = (result.clean_correct & result.success).nonzero().flatten()
    if not len(rows):
        raise ValueError(
            f"the attack must have turned at least one image, but {result.attack} turned none of the {len(result)}; "
            "give it a larger epsilon or more images."
        )
    return Fooled(
        rows,
        clean=result.original[rows],
        attacked=result.images[rows],
        labels=result.labels[rows],
        given=result.logits[rows].argmax(1),
    )


def check_pairs(clean: Image | PixelImage, attacked: Tensor) -> None:
    """Refuse images that are not the same ones before and after an attack.

    Raises:
        ValueError: If their shapes or kinds differ, there is none, or an image was not changed at all.
    """
    if clean.shape != attacked.shape or clean.dtype != attacked.dtype or len(clean) == 0:
        raise ValueError(
            "clean and attacked must be the same images before and after, at least one, but got "
            f"{tuple(clean.shape)} of {clean.dtype} and {tuple(attacked.shape)} of {attacked.dtype}."
        )
    same = (clean == attacked.to(clean.device)).flatten(1).all(dim=1).nonzero().flatten().tolist()
    if same:
        raise ValueError(
            f"every image must have been changed by the attack, but {len(same)} were not, the first of them image "
            f"{same[0]}; leave them out, as fooled_by(result) does."
        )
