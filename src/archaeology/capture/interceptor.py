"""Read attention where every model computes it: in PyTorch's own calls, with the model left as it is.

Inside `intercepted(model, on_attention)` one `TorchFunctionMode` sees every call of a PyTorch function, above
autograd, and recognises attention on four routes:

* `F.scaled_dot_product_attention` computes its output as ever; probabilities are recomputed when asked.
* `F.multi_head_attention_forward` (`nn.MultiheadAttention`) runs its own code with the mode still on, so
  that the attention inside is seen. Its native fast path steps aside by itself while any mode is on.
* A `softmax` whose result later multiplies values (`@`, `bmm`, `baddbmm`, `einsum`) is followed until then.
* A mechanism of `archaeology.attention` hands itself over whole, and says which pattern it implies.

Not seen, because no such call is made in Python: models made by `torch.jit`, regions compiled by
`torch.compile`, `flex_attention`, a softmax written out as exp and sum, and values weighted by `*` and `sum`
or in an einsum of three tensors. `check_capture` says so by name. Gradient checkpointing recomputes outside
the block: switch it off when differentiating.

Mode and account of running modules belong to one thread: the same model running in another one meanwhile is
not seen. Blocks can be nested; each sees what the model and the blocks inside it call.

No peer reads attention this way; function modes have been used to replace attention kernels.
"""

import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from archaeology.attention.mechanism import Mechanism
from archaeology.capture.attention import Attention, Rows, kind_of
from archaeology.capture.calls import Call
from archaeology.capture.contraction import Hints
from archaeology.capture.edit import Edit, HeadEdit, HeadWatch, OneEdit, PatternEdit, edits_by_layer
from archaeology.capture.follow import PRODUCTS, SOFTMAX, Followed, Trace, is_weight
from archaeology.capture.functions import name_of, unaware
from archaeology.capture.fused import fused_call
from archaeology.capture.mechanism import mechanism_call
from archaeology.capture.product import Product, product_of
from archaeology.capture.running import Running, watching

OnAttention = Callable[[Attention], None]

_own = (
    threading.local()
)  # on while we or our callers compute: no interceptor of this thread shall look at that


@contextmanager
def intercepted(
    model: nn.Module, on_attention: OnAttention | None, *, materialise: bool = False, edit: Edit | None = None
) -> Iterator[None]:
    """Run `on_attention` for every softmax attention in any forward pass of `model` inside the block.

    Args:
        model: Any eager PyTorch model; a part of one will do: paths and layer numbers then count from there.
        on_attention: Called right after each attention was computed; None to edit only.
        materialise: Compute the probabilities explicitly, inside the autograd graph, so that gradients with
            respect to `Attention.pattern()` exist; where nothing before needs a gradient the graph starts at
            the pattern.
        edit: Replaces heads' answers or a pattern on the way, in one layer or (`Edits`) in several.

    Raises:
        ValueError: At the end, if passes ran but none had a layer of `edit`.
    """
    with watching(model) as running:
        interceptor = _Interceptor(running, on_attention, materialise, edit)
        try:
            with interceptor:
                yield
        finally:
            interceptor.followed.clear()
        missed = sorted(set(interceptor.edits) - interceptor.edited)
        if missed and running.num_passes:
            raise ValueError(
                f"edit must name an attention layer of the pass, but got layer {missed[0]} while the last "
                f"pass had {interceptor.num_seen}, numbered from 0."
            )


class _Interceptor(TorchFunctionMode):
    """Sees each call first, and decides what it is."""

    def __init__(
        self, running: Running, on_attention: OnAttention | None, materialise: bool, edit: Edit | None
    ) -> None:
        super().__init__()
        self.running = running
        self.on_attention = on_attention
        self.materialise = materialise
        self.edits = edits_by_layer(edit)
        self.edited: set[int] = set()
        self.followed = Followed()
        self.num_seen = 0
        self.passes_begun = 0
        self.inside: tuple[int, int] | None = None  # heads and batch of the running multi-head attention

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if torch.compiler.is_compiling() or not self.running.frames or getattr(_own, "work", False):
            return func(*args, **kwargs)
        if self.passes_begun != self.running.num_passes:
            self.passes_begun, self.num_seen = self.running.num_passes, 0
            self.followed.clear()
        name = name_of(func)
        if func is Mechanism.forward:
            return self._mechanism(func, args, kwargs)
        if name == "scaled_dot_product_attention":
            return self._fused(func, args, kwargs)
        if name == "multi_head_attention_forward":
            return self._multi_head(func, args, kwargs)
        if name in SOFTMAX:
            result = func(*args, **kwargs)
            self.followed.start(result, args, kwargs)
            return result
        if not len(self.followed):
            return func(*args, **kwargs)
        if name in PRODUCTS:
            return self._product(name, func, args, kwargs)
        result = func(*args, **kwargs)
        self.followed.carry(name, args, kwargs, result)
        return result

    def _fused(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        run = partial(func, *args, **kwargs)
        call = fused_call(run, args, kwargs, self._hints())
        return self._attend(call, Trace(axis=-1, normalised=True, event=self._next()))

    def _mechanism(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        call = mechanism_call(partial(func, *args, **kwargs), args, kwargs)
        trace = Trace(axis=-1, normalised=call.mechanism.facts.rows_sum_to_one, event=self._next())
        frames = self.running.frames
        if len(frames) == 1 or frames[-1].module is not call.mechanism:
            return self._attend(call, trace)
        inner = frames.pop()  # it is the layer around the mechanism that attends
        try:
            return self._attend(call, trace)
        finally:
            frames.append(inner)

    def _multi_head(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run PyTorch's own function, told that nobody is looking, while we do."""
        given = dict(zip(("query", "key", "value", "embed_dim", "num_heads"), args, strict=False)) | kwargs
        query, outside = given["query"], self.inside
        self.inside = given["num_heads"], query.shape[1] if query.ndim == 3 else 1  # tokens come first
        try:
            with self:
                return unaware(func)(*args, **kwargs)
        finally:
            self.inside = outside

    def _product(
        self, name: str, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        run = partial(func, *args, **kwargs)
        product = product_of(name, args, kwargs)
        if product is None:
            return run()
        traces = [self.followed.trace(operand) for operand in product.operands]
        if traces == [None, None]:
            return run()
        position = 0 if traces[1] is None else 1  # of two patterns, the keys of the right one remain
        trace, other = traces[position], traces[1 - position]
        assert trace is not None
        remains = product.letter_kept(position, trace.axis)
        mixes = remains is not None and is_weight(product.operands[1 - position])
        if other is not None or mixes:
            result = run()  # a product of patterns, or heads mixed by a weight: still a pattern
            self.followed.mark(result, remains)
            return result
        call = product.call(position, run, self._hints())
        if call is None or self._is_readout(product, position):
            return run()
        again = trace.event is not None
        trace.event = trace.event if again else self._next()
        trace.normalised = trace.normalised and remains is None and len(call.axes.key) == 1
        return self._attend(call, trace, again=again)

    def _is_readout(self, product: Product, position: int) -> bool:
        """Whether it is class probabilities that are multiplied, one row for each image: nothing attends."""
        probabilities, other = product.operands[position], product.operands[1 - position]
        shape = self.running.frames[0].input_shape
        rows_are_images = len(shape) > 2 and shape[0] == probabilities.shape[position]
        return probabilities.ndim == 2 and other.ndim == 2 and (rows_are_images or is_weight(other))

    def _attend(self, call: Call, trace: Trace, *, again: bool = False) -> Tensor:
        """Let the call happen, as it is or edited, and report it, unless the same pattern was met before."""
        edit = None if trace.event is None else self.edits.get(trace.event)
        pattern = self._stand_in(call, trace, edit)
        if pattern is None:
            result = call.as_is()
            product = partial(call.product, result)
        else:
            made = call.with_pattern(pattern)
            result = call.finish(made)
            product = partial(_same, made)
        if isinstance(edit, HeadEdit) and again:
            edit = HeadEdit(edit.layer, edit.head)  # a replacement counts once
        if isinstance(edit, HeadEdit | HeadWatch):
            made = call.axes.output_back(edit.apply(call.axes.output_of(product())))
            result = call.finish(made)
            product = partial(_same, made)
        if edit is not None:
            self.edited.add(edit.layer)
        if self.on_attention is not None and not again:
            self._report(call, trace, pattern, product)
        return result

    def _stand_in(self, call: Call, trace: Trace, edit: OneEdit | None) -> Tensor | None:
        """The pattern to compute with instead of the model's own, or None to leave it alone."""
        if isinstance(edit, PatternEdit):
            return edit.fitting(call.axes.shape, call.device)
        if not self.materialise:
            return None
        pattern = trace.pattern() if trace.pattern is not None else None
        if pattern is None:
            pattern = call.pattern()
            trace.pattern = weakref.ref(pattern)
            if torch.is_grad_enabled() and not pattern.requires_grad:
                pattern.requires_grad_()
        return pattern

    def _report(
        self, call: Call, trace: Trace, pattern: Tensor | None, product: Callable[[], Tensor]
    ) -> None:
        def read(rows: Rows) -> Tensor:
            if pattern is not None:
                return pattern if rows is None else pattern[:, :, rows]
            with torch.no_grad():
                return call.pattern(rows)

        assert self.on_attention is not None and trace.event is not None
        frame = self.running.frames[-1]
        axes = call.axes
        event = Attention(
            index=trace.event,
            module=frame.path,
            route=call.route,
            kind="cross"
            if call.route == "mechanism" and getattr(frame.module, "is_cross", False)
            else kind_of(axes.shape, axes.num_features, self._hints()),
            shape=axes.shape,
            normalised=trace.normalised,
            compute_pattern=read,
            compute_value=call.value,
            compute_output=lambda: axes.output_of(product()),
            compute_factors=call.factors if pattern is None else lambda: None,
        )
        with _own_work():
            self.on_attention(event)

    def _next(self) -> int:
        self.num_seen += 1
        return self.num_seen - 1

    def _hints(self) -> Hints:
        frame, shape = self.running.frames[-1], self.running.frames[0].input_shape
        heads, batch = self.inside or (frame.num_heads, None)
        tokens_first = len(shape) == 3 and batch is not None and shape[0] != batch == shape[1]
        num_images = shape[1 if tokens_first else 0] if shape else None
        return Hints(num_images, heads, frame.input_shape, batch)


@contextmanager
def _own_work() -> Iterator[None]:
    before = getattr(_own, "work", False)
    _own.work = True
    try:
        yield
    finally:
        _own.work = before


def _same(tensor: Tensor) -> Tensor:
    return tensor
