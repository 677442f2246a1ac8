"""Run only a model's end: blocks before a layer repeat what they said, the rest runs on copies.

An ablation changes one layer, so everything before it stays as it was. Which modules are the blocks is
found by watching a pass (the outermost module around one attention and no other), so nothing need be known
of the model: earlier blocks hand back their remembered output, the block of the layer gets its input
several times over, one copy for each edit, and what follows sees a larger batch. Two shortcuts spare more
of the pass (`shared_beginning`, `one_token_end`). None of this is right for every model: compare with a
whole pass before trusting it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import Any

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

from archaeology.capture.attention import Attention
from archaeology.capture.interceptor import OnAttention, intercepted

Forward = Callable[..., Any]


@dataclass(frozen=True)
class Unit:
    """The outermost module that holds one attention layer and no other, usually a block.

    Attributes:
        path: Of the module.
        num_queries: Of its attention, for each image or window.
        earlier: Modules that have finished when it starts: the blocks and whatever else ran before; outermost ones.
        before: Modules inside that have finished when the attention happens; outermost ones, with weights.
        after: Modules inside that start after the attention; outermost ones, with weights.
    """

    path: str
    num_queries: int
    earlier: tuple[str, ...]
    before: tuple[str, ...]
    after: tuple[str, ...]


def units_of(
    model: nn.Module, run: Callable[[], object], on_attention: OnAttention | None = None
) -> tuple[Unit, ...]:
    """The unit of each attention layer, in order; empty where some layer has none of its own.

    Args:
        model: The whole model.
        run: Runs it once.
        on_attention: Called for every attention of that pass, as by `intercepted`.
    """
    clock, queries, events = count(), [], []
    spans: dict[str, list[list[int]]] = {}

    def see(attention: Attention) -> None:
        events.append(next(clock))
        queries.append(attention.shape[2])
        if on_attention is not None:
            on_attention(attention)

    def enter(path: str, *_: object) -> None:
        spans.setdefault(path, []).append([next(clock)])

    def leave(path: str, *_: object) -> None:
        spans[path][-1].append(next(clock))

    with ExitStack() as stack:
        for path, module in model.named_modules():
            stack.callback(module.register_forward_pre_hook(partial(enter, path)).remove)
            stack.callback(module.register_forward_hook(partial(leave, path)).remove)
        with intercepted(model, see):
            run()
    once = {path: calls[0] for path, calls in spans.items() if path and len(calls) == 1}
    units = [
        _unit(model, once, events, moment, tokens) for moment, tokens in zip(events, queries, strict=True)
    ]
    return tuple(unit for unit in units if unit is not None) if None not in units else ()


def _unit(
    model: nn.Module, once: Mapping[str, list[int]], events: list[int], moment: int, num_queries: int
) -> Unit | None:
    around = [
        path
        for path, (start, end) in once.items()
        if start < moment < end and sum(start < event < end for event in events) == 1
    ]
    if not around:
        return None
    path = min(around, key=lambda name: once[name][0])
    weighty = {
        name: span for name, span in once.items() if any(True for _ in model.get_submodule(name).parameters())
    }
    inside = {name: span for name, span in weighty.items() if name.startswith(f"{path}.")}
    return Unit(
        path,
        num_queries,
        earlier=_outermost([name for name, (_, end) in weighty.items() if end < once[path][0]]),
        before=_outermost([name for name, (_, end) in inside.items() if end < moment]),
        after=_outermost([name for name, (start, _) in inside.items() if start > moment]),
    )


def _outermost(paths: list[str]) -> tuple[str, ...]:
    return tuple(path for path in paths if not any(path.startswith(f"{other}.") for other in paths))


@contextmanager
def remembered(model: nn.Module, units: Sequence[Unit]) -> Iterator[dict[str, Any]]:
    """What each module that some unit can do without returns in the pass run inside the block."""
    outputs: dict[str, Any] = {}

    def keep(path: str, module: nn.Module, given: object, output: Any) -> None:
        outputs[path] = output

    with ExitStack() as stack:
        for path in dict.fromkeys(path for unit in units for path in unit.earlier):
            hook = model.get_submodule(path).register_forward_hook(partial(keep, path))
            stack.callback(hook.remove)
        yield outputs


@contextmanager
def only_from(
    model: nn.Module,
    units: Sequence[Unit],
    outputs: Mapping[str, Any],
    *,
    num_images: int,
    copies: int,
) -> Iterator[None]:
    """Inside the block, passes start at the first of `units`, with every example `copies` times, copy after copy.

    Attention layers are then numbered from there: its own is number 0.

    Args:
        model: The whole model; call it with the images whose outputs are remembered.
        units: The unit to start with, and all that follow.
        outputs: What `remembered` kept for these images.
        num_images: How many images these are.
        copies: How many copies of each are wanted.
    """

    def spread(forward: Forward, is_first: bool, *given: Any, **named: Any) -> Any:
        sizes = {len(tensor) for tensor in _tensors((given, named))}
        if is_first or num_images * copies in sizes:  # what joins late must grow too
            given, named = pytree.tree_map_only(
                Tensor, lambda t: _copied(t, copies) if t.ndim and len(t) == num_images else t, (given, named)
            )
        return forward(*given, **named)

    with ExitStack() as stack:
        for path in units[0].earlier:
            stack.enter_context(_replaced(model.get_submodule(path), partial(_repeat, outputs[path])))
        for unit in units:
            module = model.get_submodule(unit.path)
            stack.enter_context(_replaced(module, partial(spread, module.forward, unit is units[0])))
        yield


def _repeat(output: Any, *given: object, **named: object) -> Any:
    return output


@contextmanager
def shared_beginning(model: nn.Module, unit: Unit, copies: int) -> Iterator[None]:
    """Inside the block, what a unit does before its heads answer is done for one of the equal copies only."""

    def for_one(forward: Forward, *given: Any, **named: Any) -> Any:
        size = max((len(tensor) for tensor in _tensors((given, named))), default=0)
        if copies == 1 or size == 0 or size % copies:
            return forward(*given, **named)
        given, named = pytree.tree_map_only(
            Tensor, lambda t: t[: size // copies] if t.ndim and len(t) == size else t, (given, named)
        )
        return pytree.tree_map_only(Tensor, partial(_copied, copies=copies), forward(*given, **named))

    with _shortened(model, unit, unit.before, for_one, for_one):
        yield


@contextmanager
def one_token_end(model: nn.Module, unit: Unit, token: int) -> Iterator[None]:
    """Inside the block, what a unit does from its attention on is done for one token only.

    Right for the last unit of a model that reads that token alone: sums with what all tokens carry along spread
    the token's part over all of them, and only that token's sum is right.
    """

    def for_one(forward: Forward, *given: Any, **named: Any) -> Any:
        given, named = pytree.tree_map_only(
            Tensor,
            lambda t: t[:, token : token + 1] if t.ndim == 3 and t.shape[1] == unit.num_queries else t,
            (given, named),
        )
        return forward(*given, **named)

    def attend(forward: Forward, query: Tensor, *given: Any, **named: Any) -> Tensor:
        mask = named.get("attn_mask", given[2] if len(given) > 2 else None)
        causal = named.get("is_causal", given[4] if len(given) > 4 else False)
        if mask is not None or causal or query.shape[-2] != unit.num_queries:
            return forward(query, *given, **named)
        answer = forward(query[..., token : token + 1, :], *given, **named)
        return answer.expand(*query.shape[:-1], answer.shape[-1])

    with _shortened(model, unit, unit.after, for_one, attend):
        yield


@contextmanager
def _shortened(
    model: nn.Module, unit: Unit, paths: Sequence[str], around: Forward, around_attention: Forward
) -> Iterator[None]:
    """Modules inside a unit, and its fused attention, called through `around(forward, ...)`."""
    module = model.get_submodule(unit.path)
    fused = _FusedAttention(around_attention)
    with ExitStack() as stack:
        for path in paths:
            inner = model.get_submodule(path)
            stack.enter_context(_replaced(inner, partial(around, inner.forward)))
        stack.enter_context(_replaced(module, fused.switched_on(module.forward)))
        stack.enter_context(fused)
        yield


class _FusedAttention(TorchFunctionMode):
    """Calls fused attention through a function, while the unit it is meant for runs.

    Entered before the interceptor, it is asked after it: the edit sees the answer it gives.
    """

    def __init__(self, around: Forward) -> None:
        super().__init__()
        self.around = around
        self.is_on = False

    def __torch_function__(
        self, func: Forward, types: object, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if self.is_on and getattr(func, "__name__", "") == "scaled_dot_product_attention":
            return self.around(func, *args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))

    def switched_on(self, forward: Forward) -> Forward:
        """The unit's forward, with the switch on while it runs."""

        def run(*given: Any, **named: Any) -> Any:
            self.is_on = True
            try:
                return forward(*given, **named)
            finally:
                self.is_on = False

        return run


@contextmanager
def _replaced(module: nn.Module, forward: Forward) -> Iterator[None]:
    """Another forward for one module; hooks still fire around it."""
    before = module.__dict__.get("forward")
    module.forward = forward
    try:
        yield
    finally:
        if before is None:
            del module.forward
        else:
            module.forward = before


def _tensors(tree: object) -> list[Tensor]:
    return [leaf for leaf in pytree.tree_leaves(tree) if isinstance(leaf, Tensor) and leaf.ndim]


def _copied(tensor: Tensor, copies: int) -> Tensor:
    return tensor.repeat(copies, *[1] * (tensor.ndim - 1))
