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
from archaeology.capture.interceptor import intercepted
from archaeology.core.shapes import Image, PixelImage
from archaeology.explorer.live import sight
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
class Heads:
    """What is known of the heads of each model, worked out when first asked for; used by the worker alone.

    Attributes:
        images: Of the run, which means are taken over; None where there is no run.
    """

    images: PixelImage | None
    _means: dict[str, tuple[Tensor, ...]] = field(default_factory=dict)
    _numbers: dict[str, list[int]] = field(default_factory=dict)

    def mean(self, key: str, specimen: Specimen) -> tuple[Tensor, ...]:
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
        if key not in self._means:
            self._means[key] = mean_head_outputs(specimen, self.images.split(AT_ONCE))
        return self._means[key]

    def number(self, key: str, specimen: Specimen, images: Image | PixelImage, layer: int) -> int:
        """The number in a pass of a layer that the explorer shows; others, such as class attention, have none there.

        Raises:
            Refusal: 422, if it shows no such layer.
        """
        if key not in self._numbers:
            self._numbers[key] = shown_numbers(key, specimen, images)
        numbers = self._numbers[key]
        if not 0 <= layer < len(numbers):
            raise Refusal(
                422, f"off must name layers 0 to {len(numbers) - 1} of {specimen.name}, but got {layer}."
            )
        return numbers[layer]


def shown_numbers(key: str, specimen: Specimen, images: Image | PixelImage) -> list[int]:
    """For each layer that the explorer shows, its number in a pass."""
    modules: list[str] = []
    with intercepted(specimen.model, lambda attention: modules.append(attention.module)):
        specimen.predict(images)
    attention = sight(key, specimen, images, methods=()).models[0].attention
    if attention is None:
        return list(range(len(modules)))
    numbers: list[int] = []
    for layer in attention.layers:
        numbers.append(modules.index(layer.name, numbers[-1] + 1 if numbers else 0))
    return numbers


def ablated(wish: Wish, specimen: Specimen, picture: Picture, heads: Heads) -> Mapping[str, Any]:
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
                instead: Sequence[Tensor] = heads.mean(wish.model, specimen)
            else:
                instead = [torch.zeros_like(one) for one in mean_head_outputs(specimen, images)]
            try:
                off = [(heads.number(wish.model, specimen, images, layer), head) for layer, head in wish.off]
                after = without_heads(specimen, off, instead).predict(images)
            except ValueError as error:
                raise Refusal(422, str(error)) from error
    return {"before": scores_of(specimen, before[0]), "after": scores_of(specimen, after[0])}
