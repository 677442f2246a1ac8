"""The raw gradient of the class with respect to the pixels: the control that every better method must beat.

`sum over channels of |d logit / d image|`. Source: `simonyan2014deep`, who take the largest channel instead of the sum.
Noisy, and blind to what the class shares with all others, but free of any choice.
"""

from archaeology.capture.record import Record
from archaeology.explain.explanation import Explanation
from archaeology.explain.method import of_record


@of_record("gradient", title="Gradient", image_gradient=True)
def gradient(record: Record) -> Explanation:
    """How strongly each pixel could change the target's logit, in logits per unit of brightness.

    Args:
        record: Captured with `image_gradient=True`.

    Raises:
        ValueError: If the record holds no gradient of the image.

    References:
        `simonyan2014deep`. Differs: see the module.
    """
    if record.image_gradient is None:
        raise ValueError(
            "gradient needs the gradient of the image, but this record has none; capture with image_gradient=True."
        )
    return Explanation(
        heatmap=record.image_gradient.abs().sum(dim=1),
        method="gradient",
        formula="sum over channels of |d logit / d image|, at every pixel",
        target=record.target,
    )
