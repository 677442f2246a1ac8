"""Logits with parts of a model replaced, by the cheapest way that is right for this model.

Three ways: a suffix of the model with shortcuts, a plain suffix, and whole passes. When a layer is first begun
with, the logits are compared with a whole pass that makes a single cut, of another image and another cut for each
layer, so that mixed-up examples show. Where they disagree, or the model does not let itself be run from the
middle, the next way is taken. So a shortcut can cost time, never truth.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from archaeology.ablate.cuts import Cuts, no_cuts
from archaeology.ablate.stand_ins import StandIns
from archaeology.capture.attention import Attention
from archaeology.capture.edit import Edits, HeadEdit
from archaeology.capture.feed_forward import feed_forwards
from archaeology.capture.hidden import refuse_hidden, why_nothing
from archaeology.capture.interceptor import intercepted
from archaeology.capture.outputs import OutputEdit, outputs_edited
from archaeology.capture.suffix import (
    Unit,
    one_token_end,
    only_from,
    remembered,
    shared_beginning,
    units_of,
)
from archaeology.core.halving import in_halves, is_out_of_memory
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
    """Logits of some images: with the base, usually the whole model, and with each cut."""

    whole: Float[Tensor, "batch classes"]
    ablated: Float[Tensor, "cut batch classes"]


@dataclass
class Sweep:
    """Replaces parts of a specimen, batch after batch.

    Attributes:
        specimen: The model.
        max_batch: How many examples (images times cuts) may go through the model at once.
        layers: Its attention layers.
        units: Their blocks; empty where they cannot be told apart.
        mlps: Module paths of the blocks' MLPs; empty where none is asked for.
        methods: How cuts that begin at a layer are run, by layer and by whether outputs of modules are cut too.
    """

    specimen: Specimen
    max_batch: int
    layers: tuple[Layer, ...]
    units: tuple[Unit, ...]
    mlps: tuple[str, ...] = ()
    methods: dict[tuple[int, bool], Method] = field(default_factory=dict[tuple[int, bool], Method])

    @property
    def heads(self) -> tuple[int, ...]:
        """How many heads each layer has."""
        return tuple(layer.num_heads for layer in self.layers)

    @torch.no_grad()
    def logits(self, images: Image, cuts: Cuts, stand_ins: StandIns, base: Cuts | None = None) -> Logits:
        """Logits of one batch with each cut, as `Specimen.prepare` made it.

        Args:
            images: The batch.
            cuts: What to replace.
            stand_ins: And by what.
            base: One cut that all of `cuts` include: what lies before the first difference from it is run only once.
        """
        base = no_cuts(1, self.heads, cuts.tokens.shape[-1]) if base is None else base
        model = self.specimen.model
        with self._edited(base, len(images), stand_ins, 0), remembered(model, self.units) as outputs:
            whole = model(images)
        ablated = whole.expand(len(cuts), *whole.shape).clone()
        starts = cuts.starts(base)
        for start in starts.unique().tolist():
            if start < len(self.layers):
                rows = (starts == start).nonzero().flatten()
                ablated[rows] = self._begun_at(start, images, outputs, cuts[rows], stand_ins)
        return Logits(whole, ablated)

    def _begun_at(
        self, start: int, images: Image, outputs: dict[str, Any], cuts: Cuts, stand_ins: StandIns
    ) -> Float[Tensor, "cut batch classes"]:
        """Logits by the cheapest method that agrees with whole passes; it is kept for later batches."""
        kind = start, bool(cuts.mlps.any() or cuts.tokens.any())
        if kind in self.methods:
            return self._replaced(start, images, outputs, cuts, stand_ins, self.methods[kind])
        image, row = (start + 1) % len(images), start % len(cuts)
        one = cuts[row : row + 1]
        with self._edited(one, 1, stand_ins.of(image), 0):
            truth = self.specimen.model(images[image : image + 1])[0]
        for method in METHODS[:-1] if self.units else ():
            try:
                found = self._replaced(start, images, outputs, cuts, stand_ins, method)
            except (RuntimeError, ValueError, TypeError, IndexError, KeyError) as error:
                if is_out_of_memory(error):
                    raise
                continue  # somebody else's code, run in a way it was not written for
            if _agree(found[row, image], truth):
                self.methods[kind] = method
                return found
        self.methods[kind] = "whole pass"
        return self._replaced(start, images, outputs, cuts, stand_ins, "whole pass")

    def _replaced(
        self,
        start: int,
        images: Image,
        outputs: dict[str, Any],
        cuts: Cuts,
        stand_ins: StandIns,
        method: Method,
    ) -> Float[Tensor, "cut batch classes"]:
        """Logits with each cut, as many at once as `max_batch` allows; all begin at layer `start`."""
        model = self.specimen.model
        whole_end = bool(cuts.mlps[:, -1].any())  # stand-ins of an MLP are for all tokens

        def run(rows: slice) -> Tensor:
            some = cuts[rows]
            if method == "whole pass":
                with self._edited(some, len(images), stand_ins, 0):
                    logits = model(images.repeat(len(some), 1, 1, 1))
            else:
                short = method == "short suffix"
                with (
                    self._from(start, outputs, len(images), len(some), short=short, whole_end=whole_end),
                    self._edited(some, len(images), stand_ins, start),
                ):
                    logits = model(images)
            return logits.unflatten(0, (len(some), len(images)))

        at_once = max(1, self.max_batch // len(images))
        parts = list(in_halves(run, len(cuts), at_once))
        most = max(rows.stop - rows.start for rows, _ in parts)
        if most < min(at_once, len(cuts)):  # memory ran out, and would again
            self.max_batch = most * len(images)
        return torch.cat([part for _, part in parts])

    def _from(
        self,
        start: int,
        outputs: dict[str, Any],
        num_images: int,
        copies: int,
        *,
        short: bool,
        whole_end: bool,
    ) -> ExitStack:
        """The model starting at a layer, with or without shortcuts, until the stack is closed."""
        model = self.specimen.model
        with ExitStack() as stack:
            stack.enter_context(
                only_from(model, self.units[start:], outputs, num_images=num_images, copies=copies)
            )
            if short:
                stack.enter_context(shared_beginning(model, self.units[start], copies))
                token = _only_token_read(self.specimen.layout)
                if token is not None and not whole_end:
                    stack.enter_context(one_token_end(model, self.units[-1], token))
            return stack.pop_all()

    @contextmanager
    def _edited(self, cuts: Cuts, num_images: int, stand_ins: StandIns, start: int) -> Iterator[None]:
        """The model with each cut made in its copy of the images; its layers are numbered from `start`."""
        heads: list[HeadEdit] = []
        outputs: list[OutputEdit] = []
        for layer in cuts.layers.any(0).nonzero().flatten().tolist():
            if layer < start:
                continue  # part of the base, and so of what is remembered
            chosen = cuts.heads[:, layer, : self.heads[layer]].repeat_interleave(num_images, dim=0)
            if chosen.any():
                heads.append(HeadEdit(layer - start, chosen, stand_ins.heads.get(layer)))
            for path, mask in (("mlp", cuts.mlps[:, layer]), ("block", cuts.tokens[:, layer])):
                if mask.any():
                    path = self.mlps[layer] if path == "mlp" else self.units[layer].path
                    chosen = mask.repeat_interleave(num_images, dim=0)
                    outputs.append(OutputEdit(path, chosen, stand_ins.outputs.get(path)))
        edit = Edits(tuple(heads)) if heads else None
        model = self.specimen.model
        with outputs_edited(model, outputs):
            if edit is None:
                yield
            else:
                with intercepted(model, None, edit=edit):
                    yield


@torch.no_grad()
def sweep_of(
    specimen: Specimen,
    images: Image | PixelImage,
    *,
    max_batch: int,
    with_mlps: bool = False,
    mlps: Sequence[str] | None = None,
) -> Sweep:
    """A sweep over a specimen's parts, which are found by looking at a few images.

    Args:
        specimen: A model with attention.
        images: Two are enough.
        max_batch: How many examples may go through the model at once.
        with_mlps: Whether MLPs are to be replaced too.
        mlps: Their module paths, one for each block, where they cannot be told apart.

    Raises:
        SelfCheckError: If the model shows no attention; says why.
        ValueError: If MLPs are wanted and cannot be told apart.
    """
    refuse_hidden(specimen.model)
    layers: list[Layer] = []

    def see(attention: Attention) -> None:
        layers.append(Layer(attention.module, attention.shape[1]))

    units = units_of(specimen.model, lambda: specimen.predict(images), see)
    if not layers:
        raise why_nothing(specimen, images)
    found = feed_forwards(specimen.model, units, mlps) if with_mlps else ()
    return Sweep(specimen, max_batch, tuple(layers), units, found)


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
