"""Logits with each head of each layer replaced, by the cheapest way that is right for this model.

Three ways: a suffix of the model with shortcuts, a plain suffix, and whole passes. On the first batch each
layer's logits are compared with a whole pass that replaces a single head, of another image and head for each
layer, so that mixed-up examples show. Where they disagree, or the model does not let itself be run from the
middle, the next way is taken. So a shortcut can cost time, never truth.
"""

from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from archaeology.capture.attention import Attention
from archaeology.capture.edit import HeadEdit
from archaeology.capture.hidden import why_nothing
from archaeology.capture.interceptor import intercepted
from archaeology.capture.suffix import (
    Unit,
    one_token_end,
    only_from,
    remembered,
    shared_beginning,
    units_of,
)
from archaeology.core.shapes import Image, PixelImage
from archaeology.specimens.layout import TokenLayout
from archaeology.specimens.specimen import Specimen

Method = Literal["short suffix", "suffix", "whole pass"]
METHODS: tuple[Method, ...] = ("short suffix", "suffix", "whole pass")
TOLERANCE = 1e-4
HALF_TOLERANCE = 5e-2


@dataclass(frozen=True)
class Layer:
    """One attention layer: its module and its number of heads."""

    module: str
    num_heads: int


@dataclass(frozen=True, eq=False)
class Logits:
    """Logits of some images: with the whole model, and for each layer (head, batch, classes) with a head replaced."""

    whole: Float[Tensor, "batch classes"]
    ablated: tuple[Tensor, ...]


@dataclass
class Sweep:
    """Replaces every head of a specimen, batch after batch.

    Attributes:
        specimen: The model.
        means: What each layer's heads say instead; zero if None.
        max_batch: How many examples (images times copies) may go through the model at once.
        layers: Its attention layers.
        units: Their blocks; empty where they cannot be told apart.
        methods: How each layer is run; settled on the first batch.
    """

    specimen: Specimen
    means: tuple[Tensor, ...] | None
    max_batch: int
    layers: tuple[Layer, ...]
    units: tuple[Unit, ...]
    methods: list[Method] = field(default_factory=list)

    @torch.no_grad()
    def logits(self, images: Image) -> Logits:
        """Logits of one batch, as `Specimen.prepare` made it."""
        with remembered(self.specimen.model, self.units) as outputs:
            whole = self.specimen.model(images)
        ablated = []
        for layer in range(len(self.layers)):
            if len(self.methods) <= layer:
                ablated.append(self._settle(images, outputs, layer))
            else:
                ablated.append(self._replaced(images, outputs, layer, self.methods[layer]))
        return Logits(whole, tuple(ablated))

    def _settle(
        self, images: Image, outputs: dict[str, Any], layer: int
    ) -> Float[Tensor, "head batch classes"]:
        """Logits by the cheapest method that agrees with whole passes; it is kept for later batches."""
        image, head = (layer + 1) % len(images), layer % self.layers[layer].num_heads
        truth = self._edited(images[image : image + 1], layer, torch.tensor([head]))
        for method in METHODS[:-1] if self.units else ():
            try:
                found = self._replaced(images, outputs, layer, method)
            except (RuntimeError, ValueError, TypeError, IndexError, KeyError):
                continue  # somebody else's code, run in a way it was not written for
            if _agree(found[head, image], truth[0]):
                self.methods.append(method)
                return found
        self.methods.append("whole pass")
        return self._replaced(images, outputs, layer, "whole pass")

    def _replaced(
        self, images: Image, outputs: dict[str, Any], layer: int, method: Method
    ) -> Float[Tensor, "head batch classes"]:
        """Logits with each head of a layer replaced in turn, as many heads at once as `max_batch` allows."""
        parts = []
        at_once = max(1, self.max_batch // len(images))
        for heads in torch.arange(self.layers[layer].num_heads).split(at_once):
            copies = len(heads)
            numbers = heads.repeat_interleave(len(images))
            if method == "whole pass":
                logits = self._edited(images.repeat(copies, 1, 1, 1), layer, numbers)
            else:
                with self._from(layer, outputs, len(images), copies, short=method == "short suffix"):
                    logits = self._edited(images, layer, numbers, number=0)
            parts.append(logits.unflatten(0, (copies, len(images))))
        return torch.cat(parts)

    def _from(
        self, layer: int, outputs: dict[str, Any], num_images: int, copies: int, *, short: bool
    ) -> ExitStack:
        """The model starting at a layer, with or without shortcuts, until the stack is closed."""
        model = self.specimen.model
        with ExitStack() as stack:
            stack.enter_context(
                only_from(model, self.units[layer:], outputs, num_images=num_images, copies=copies)
            )
            if short:
                stack.enter_context(shared_beginning(model, self.units[layer], copies))
                token = _only_token_read(self.specimen.layout)
                if token is not None:
                    stack.enter_context(one_token_end(model, self.units[-1], token))
            return stack.pop_all()

    def _edited(
        self, images: Image, layer: int, heads: Int[Tensor, " example"], *, number: int | None = None
    ) -> Tensor:
        """Logits with a head of each example replaced; `number` is the layer's in this pass, if another."""
        replacement = None if self.means is None else self.means[layer]
        edit = HeadEdit(layer if number is None else number, heads, replacement)
        with intercepted(self.specimen.model, None, edit=edit):
            return self.specimen.model(images)


@torch.no_grad()
def sweep_of(
    specimen: Specimen, images: Image | PixelImage, *, means: tuple[Tensor, ...] | None, max_batch: int
) -> Sweep:
    """A sweep over a specimen's heads, which are found by looking at a few images.

    Raises:
        SelfCheckError: If the model shows no attention.
    """
    layers: list[Layer] = []

    def see(attention: Attention) -> None:
        layers.append(Layer(attention.module, attention.shape[1]))

    units = units_of(specimen.model, lambda: specimen.predict(images), see)
    if not layers:
        raise why_nothing(specimen, images)
    return Sweep(specimen, means, max_batch, tuple(layers), units)


def _only_token_read(layout: TokenLayout | None) -> int | None:
    """The token that alone decides the logits, where there is one."""
    if layout is None or layout.order != "flat" or layout.readout != "class_token":
        return None
    return layout.class_token


def _agree(found: Tensor, truth: Tensor) -> bool:
    half = truth.dtype in (torch.float16, torch.bfloat16)
    scale = float(truth.float().abs().amax().clamp(min=1))
    difference = float((found.float() - truth.float()).abs().amax())
    return difference <= (HALF_TOLERANCE if half else TOLERANCE) * scale  # not if it is NaN
