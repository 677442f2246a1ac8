"""What if these heads had said nothing? Logits of one image before and after, nothing else of the model changed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from archaeology.ablate.means import mean_head_outputs
from archaeology.ablate.without_heads import without_heads
from archaeology.app.decoding import Picture
from archaeology.app.refusal import Refusal
from archaeology.app.seeing import batch_of, scores_of
from archaeology.core.shapes import PixelImage
from archaeology.specimens.specimen import Specimen

MOST_HEADS = 4096
AT_ONCE = 16


class Wish(BaseModel):
    """What a visitor wants."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    model: str
    off: list[tuple[int, int]] = Field(max_length=MOST_HEADS)
    replacement: Literal["zero", "mean"] = "mean"


@dataclass(eq=False)
class Means:
    """What every head says on average over the images of the run, worked out when first asked for.

    Attributes:
        images: Of the run, (image, channel, height, width); None where there is no run.
    """

    images: PixelImage | None
    _known: dict[str, tuple[Tensor, ...]] = field(default_factory=dict)

    def of(self, key: str, specimen: Specimen) -> tuple[Tensor, ...]:
        """For each layer what its heads say on average.

        Raises:
            Refusal: 422, if there are no images to take a mean over.
        """
        if self.images is None:
            raise Refusal(
                422,
                "A mean over images needs images, but the app was started without a run; replace heads by zero, or "
                "start `archaeology app RUN`.",
            )
        if key not in self._known:
            self._known[key] = mean_head_outputs(specimen, self.images.split(AT_ONCE))
        return self._known[key]


def ablated(wish: Wish, specimen: Specimen, picture: Picture, means: Means) -> Mapping[str, Any]:
    """The likeliest classes before and after; runs in the worker.

    Raises:
        Refusal: 422, if the model has no such head, or no attention.
    """
    if specimen.kind != "transformer":
        raise Refusal(422, f"Heads can be taken out of a transformer, but {specimen.name} has none.")
    images = batch_of([picture], specimen)
    with torch.inference_mode(False), torch.no_grad():
        before = specimen.predict(images)
        after = before
        if wish.off:
            if wish.replacement == "mean":
                instead: Sequence[Tensor] = means.of(wish.model, specimen)
            else:
                instead = [torch.zeros_like(one) for one in mean_head_outputs(specimen, images)]
            try:
                after = without_heads(specimen, wish.off, instead).predict(images)
            except ValueError as error:
                raise Refusal(422, str(error)) from error
    return {"before": scores_of(specimen, before[0]), "after": scores_of(specimen, after[0])}
