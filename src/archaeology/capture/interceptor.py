"""Read attention where every model computes it: in PyTorch's own calls, with the model left as it is.

Inside `intercepted(model, on_attention)` one `TorchFunctionMode` sees every call of PyTorch's Python functions, above
autograd, and recognises softmax attention on three routes:

* `F.scaled_dot_product_attention` computes its output as ever; probabilities are recomputed only when asked.
* `F.multi_head_attention_forward` (`nn.MultiheadAttention`) runs its own code with the mode still on, so that the
  attention inside is seen. Its native fast path steps aside by itself while any mode is on.
* A `softmax` whose result later multiplies values (`@`, `bmm`, `baddbmm`, `einsum`) is followed until it does.

Not seen, because no such call is made in Python: models made by `torch.jit`, regions compiled by `torch.compile`,
`flex_attention`, a softmax written out as exp and sum, and values weighted by `*` and `sum` instead of a product.
`check_capture` says so by name. Gradient checkpointing recomputes outside the block: switch it off when
differentiating. The mode and the account of running modules belong to one thread: a model run in another thread
meanwhile is not seen. Blocks can be nested; each reports what it sees.

No peer reads attention this way; function modes have been used to replace attention kernels.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import FunctionType
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from archaeology.capture.attention import Attention, Rows, kind_of
from archaeology.capture.calls import Call, Product, fused_call, product_of
from archaeology.capture.edit import Edit, HeadEdit, PatternEdit
from archaeology.capture.follow import PRODUCTS, SOFTMAX, Followed, is_weight
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
        model: Any eager PyTorch model; a part of one will do, and its paths and layer numbers then count from there.
        on_attention: Called right after each attention was computed; None to edit only.
        materialise: Compute the probabilities explicitly, inside the autograd graph, so that gradients with respect
            to `Attention.pattern()` exist; where nothing before needs a gradient the graph starts at the pattern.
        edit: Replaces a head's answer or a pattern on the way.

    Raises:
        ValueError: At the end, if passes ran but none had the layer of `edit`.
    """
    with watching(model) as running:
        interceptor = _Interceptor(running, on_attention, materialise, edit)
        try:
            with interceptor:
                yield
        finally:
            interceptor.followed.clear()
        if edit is not None and running.num_passes and not interceptor.edited:
            raise ValueError(
                f"edit must name an attention layer of the pass, but got layer {edit.layer} while the last pass had "
                f"{interceptor.num_seen}, numbered from 0."
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
        self.edit = edit
        self.edited = False
        self.followed = Followed()
        self.num_seen = 0
        self.passes_begun = 0
        self.heads_inside: int | None = None  # of the multi-head attention that is running

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if not self.running.frames or getattr(_own, "work", False):
            return func(*args, **kwargs)
        if self.passes_begun != self.running.num_passes:
            self.passes_begun, self.num_seen = self.running.num_passes, 0
            self.followed.clear()
        name = _name(func)
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
        call = fused_call(run, args, kwargs, num_images=self.running.num_images, num_heads=self._num_heads())
        return self._attend(call, self._next())

    def _multi_head(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run PyTorch's own function, told that nobody is looking, while we do."""
        outside, self.heads_inside = (
            self.heads_inside,
            kwargs.get("num_heads", args[4] if len(args) > 4 else None),
        )
        try:
            with self:
                return _unaware(func)(*args, **kwargs)
        finally:
            self.heads_inside = outside

    def _product(
        self, name: str, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        run = partial(func, *args, **kwargs)
        product = product_of(name, args, kwargs)
        traces = [self.followed.trace(operand) for operand in product.operands] if product else [None, None]
        if product is None or traces == [None, None]:
            return run()
        position = 0 if traces[0] is not None else 1
        trace = traces[position]
        assert trace is not None
        axis = self._axis_after(product, position, [trace.axis if trace else None for trace in traces])
        if traces[1 - position] is not None or (
            axis is not None and is_weight(product.operands[1 - position])
        ):
            result = run()  # a product of patterns, or heads mixed by a weight: still a pattern
            self.followed.mark(result, axis)
            return result
        if is_weight(product.operands[1 - position]) and product.operands[position].ndim == 2:
            return run()  # classes times learned embeddings: nothing attends
        call = product.call(position, run, num_images=self.running.num_images, num_heads=self._num_heads())
        if call is None:
            return run()
        again, trace.event = trace.event, self._next() if trace.event is None else trace.event
        return self._attend(call, trace.event, report=again is None)

    @staticmethod
    def _axis_after(product: Product, position: int, axes: list[int | None]) -> int | None:
        """Where the keys are in the product, or None if they are summed over or lost from sight."""
        if axes[1 - position] is not None:  # both operands are patterns: the keys of the right one remain
            position = 1
        axis, letters = axes[position], product.axes[position]
        if axis is None:
            return None
        letter = letters[len(letters) - product.operands[position].ndim :][axis]
        return product.axes[2].index(letter) if letter in product.axes[2] else None

    def _attend(self, call: Call, index: int, *, report: bool = True) -> Tensor:
        edit = self.edit if self.edit is not None and self.edit.layer == index else None
        pattern: Tensor | None = None
        if isinstance(edit, PatternEdit):
            pattern = edit.fitting(call.axes.shape, call.value().device)
        elif self.materialise:
            pattern = call.pattern()
            if torch.is_grad_enabled() and not pattern.requires_grad:
                pattern.requires_grad_()
        product = call.product() if pattern is None else call.with_pattern(pattern)
        if isinstance(edit, HeadEdit):
            product = call.axes.output_back(edit.apply(call.axes.output_of(product)))
        self.edited = self.edited or edit is not None
        if report and self.on_attention is not None:
            self._report(call, index, pattern, product)
        return call.finish(product)

    def _report(self, call: Call, index: int, pattern: Tensor | None, product: Tensor) -> None:
        def read(rows: Rows) -> Tensor:
            if pattern is not None:
                return pattern if rows is None else pattern[:, :, rows]
            with torch.no_grad():
                return call.pattern(rows)

        assert self.on_attention is not None
        frame = self.running.frames[-1]
        event = Attention(
            index=index,
            module=frame.path,
            route=call.route,
            kind=kind_of(
                call.axes.shape,
                call.axes.num_features,
                num_images=self.running.num_images,
                module_input=frame.input_shape,
            ),
            shape=call.axes.shape,
            compute_pattern=read,
            compute_value=call.value,
            compute_output=partial(call.axes.output_of, product),
        )
        with _own_work():
            self.on_attention(event)

    def _next(self) -> int:
        self.num_seen += 1
        return self.num_seen - 1

    def _num_heads(self) -> int | None:
        return self.heads_inside or self.running.frames[-1].num_heads


@contextmanager
def _own_work() -> Iterator[None]:
    before = getattr(_own, "work", False)
    _own.work = True
    try:
        yield
    finally:
        _own.work = before


def _name(func: Callable[..., Any]) -> str:
    """What a function is called, the same for `torch.softmax`, `Tensor.softmax`, `F.softmax` and its aten operator."""
    name = getattr(func, "__name__", "")
    if name == "__get__":  # an attribute such as Tensor.mT
        name = getattr(getattr(func, "__self__", None), "__name__", "")
    return name.partition(".")[0]


def _unaware(func: Callable[..., Any]) -> Callable[..., Any]:
    """The same function, except that it finds no mode or subclass to hand itself over to."""
    assert isinstance(func, FunctionType)
    surroundings = {**func.__globals__, "has_torch_function": lambda _: False}
    twin = FunctionType(func.__code__, surroundings, func.__name__, func.__defaults__, func.__closure__)
    twin.__kwdefaults__ = func.__kwdefaults__
    return twin
