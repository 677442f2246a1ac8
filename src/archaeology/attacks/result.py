"""What came of an attack, checked: an image is broken only if the model itself, asked afresh, is wrong about it."""

from collections.abc import Mapping
from dataclasses import dataclass

from jaxtyping import Bool, Float, Int
from torch import Tensor

from archaeology.core.intervals import Interval, wilson
from archaeology.core.shapes import Image, Label, Logits


@dataclass(frozen=True, eq=False)
class AttackResult:
    """Verified adversarial images.

    Attributes:
        attack: Its registered name.
        norm: That bounds or measures the change.
        epsilon: How large it could be, per image, in units of images in [0, 1]; infinite for an attack that looks for
            the smallest change.
        parameters: Of the attack; calling again with them repeats it.
        original: The images before, in [0, 1].
        images: After; as before where the model was wrong already.
        labels: What is right.
        clean_logits: What the model says of the images before.
        logits: What it says of them after, in a fresh forward pass.
        success: Where the model is wrong after: within epsilon, in [0, 1], in the fresh pass. Also where it was before.
        success_8bit: Where it still is, within epsilon, when every value is one of 256 levels (`norms.in_eight_bits`).
        distances: Per image "linf", "l2", "l1" and "l0" (pixels changed).
        gradients: Asked for, per image.
        evaluations: Answers asked for without a gradient, per image.
    """

    attack: str
    norm: str
    epsilon: Float[Tensor, " batch"]
    parameters: Mapping[str, object]
    original: Image
    images: Image
    labels: Label
    clean_logits: Logits
    logits: Logits
    success: Bool[Tensor, " batch"]
    success_8bit: Bool[Tensor, " batch"]
    distances: Mapping[str, Float[Tensor, " batch"]]
    gradients: Int[Tensor, " batch"]
    evaluations: Int[Tensor, " batch"]

    def __len__(self) -> int:
        return len(self.images)

    @property
    def clean_correct(self) -> Bool[Tensor, " batch"]:
        """Where the model was right before."""
        return self.clean_logits.argmax(dim=1) == self.labels

    @property
    def clean_accuracy(self) -> Interval:
        """Share of images that the model is right about before."""
        return wilson(int(self.clean_correct.sum()), len(self))

    @property
    def robust_accuracy(self) -> Interval:
        """Share of images that the model is still right about: an upper bound, since another attack may find more."""
        return wilson(int((~self.success).sum()), len(self))
