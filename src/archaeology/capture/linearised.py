"""PyTorch's functions with their own answers, but differentiated as if they were linear: `y = x * constant`.

So a gradient times an input is relevance handed back; `archaeology.capture.relevance` says what is taken for what.
Each rule gets a function and the arguments of a call, makes the call, and returns its answer with another gradient.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

Arguments = tuple[Any, ...]
Keywords = dict[str, Any]
Function = Callable[..., Any]
Rule = Callable[[Function, Arguments, Keywords], Any]


def layer_norm(func: Function, args: Arguments, kwargs: Keywords) -> Tensor:
    """`(x - mean) / constant * weight`."""
    given = _named(("input", "normalized_shape", "weight", "bias", "eps"), args, kwargs)
    axes = tuple(range(-len(given["normalized_shape"]), 0))
    source = _exact(given["input"])
    centred = source - source.mean(axes, keepdim=True)
    scaled = centred * _rsqrt(centred, axes, given.get("eps", 1e-5))
    return as_computed(_times(scaled, given.get("weight")), func(*args, **kwargs))


def rms_norm(func: Function, args: Arguments, kwargs: Keywords) -> Tensor:
    """`x / constant * weight`."""
    given = _named(("input", "normalized_shape", "weight", "eps"), args, kwargs)
    axes = tuple(range(-len(given["normalized_shape"]), 0))
    source, eps = given["input"], given.get("eps")
    eps = torch.finfo(source.dtype).eps if eps is None else eps
    scaled = _exact(source) * _rsqrt(_exact(source), axes, eps)
    return as_computed(_times(scaled, given.get("weight")), func(*args, **kwargs))


def group_norm(func: Function, args: Arguments, kwargs: Keywords) -> Tensor:
    """`(x - mean of the group) / constant * weight`."""
    given = _named(("input", "num_groups", "weight", "bias", "eps"), args, kwargs)
    source = _exact(given["input"])
    groups = source.reshape(len(source), given["num_groups"], -1)
    centred = groups - groups.mean(-1, keepdim=True)
    scaled = (centred * _rsqrt(centred, (-1,), given.get("eps", 1e-5))).view_as(source)
    weight = given.get("weight")
    weight = None if weight is None else weight.view(-1, *[1] * (source.ndim - 2))
    return as_computed(_times(scaled, weight), func(*args, **kwargs))


def power(func: Function, args: Arguments, kwargs: Keywords) -> Tensor:
    """Roots and their inverses are there to divide by; squares and the like are activations."""
    exponent = args[1] if len(args) > 1 else kwargs.get("exponent")
    if not isinstance(exponent, int | float):
        return func(*args, **kwargs)
    return (constant if exponent < 1 else linear_through_zero)(func, args, kwargs)


def division(func: Function, args: Arguments, kwargs: Keywords) -> Tensor:
    """What divides is a constant."""
    rest = (thing.detach() if isinstance(thing, Tensor) else thing for thing in args[1:])
    named = {
        name: thing.detach() if isinstance(thing, Tensor) and name == "other" else thing
        for name, thing in kwargs.items()
    }
    return func(args[0], *rest, **named)


def constant(func: Function, args: Arguments, kwargs: Keywords) -> Tensor:
    """The answer without its origin."""
    return func(*args, **kwargs).detach()


def rescaling(func: Function, args: Arguments, kwargs: Keywords) -> Tensor:
    """Each number times a constant."""
    given = _named(("input",), args, kwargs)
    result = func(*args, **kwargs).detach()
    return as_computed(given["input"] * quotient(result, given["input"]), result)


def linear_through_zero(func: Function, args: Arguments, kwargs: Keywords) -> Tensor:
    """`f(x)`, differentiated as `f(0) + x * constant`; in place where the model says so."""
    given = dict(kwargs)
    source, rest = (args[0], args[1:]) if args else (given.pop("input"), ())
    copied = source.detach().clone()
    with torch.no_grad():
        result = func(copied, *rest, **given)
        at_zero = func(copied.new_zeros(1), *rest, **given)
    made = as_computed(source * quotient(result - at_zero, source), result)
    return source.copy_(made) if result is copied else made


def gamma_weighted(gamma: float, func: Function, args: Arguments, kwargs: Keywords) -> Tensor:
    """Contributions with the sign of the answer count `1 + gamma` times; shares are scaled to add up as before."""
    given = _named(("input", "weight", "bias"), args, kwargs)
    source, weight, bias = (given.pop(name, None) for name in ("input", "weight", "bias"))

    def run(source: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return func(source, weight, bias, *args[3:], **given)

    answer = run(source, weight, bias)
    raising = run(source.clamp(min=0), weight.clamp(min=0), None if bias is None else bias.clamp(min=0))
    raising = raising + run(source.clamp(max=0), weight.clamp(max=0), None)
    weighted = answer + gamma * torch.where(answer >= 0, raising, answer - raising)
    return as_computed(weighted * quotient(answer, weighted), answer)


def as_computed(stand_in: Tensor, result: Tensor) -> Tensor:
    """The numbers of `result` with the gradient of `stand_in`."""
    stand_in = stand_in.to(result.dtype)
    return stand_in + (result - stand_in).detach()


@torch.no_grad()
def quotient(number: Tensor, by: Tensor) -> Tensor:
    """`number / by` as a constant; zero where there is nothing to divide by."""
    return torch.where(by == 0, 0.0, number / by.masked_fill(by == 0, 1.0)).to(by.dtype)


@torch.no_grad()
def _rsqrt(source: Tensor, axes: tuple[int, ...], eps: float) -> Tensor:
    """One over the root of the mean square, as a constant."""
    return torch.rsqrt(source.square().mean(axes, keepdim=True) + eps)


def scaled(tensor: Tensor, share: float) -> Tensor:
    """The same tensor, but only this share of its gradient goes back."""
    if not tensor.requires_grad or share == 1:
        return tensor
    same = tensor.view_as(tensor)

    def lessen(gradient: Tensor) -> Tensor:
        return gradient * share

    same.register_hook(lessen)
    return same


def _times(tensor: Tensor, weight: Tensor | None) -> Tensor:
    return tensor if weight is None else tensor * weight


def _exact(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


def _named(names: tuple[str, ...], args: Arguments, kwargs: Keywords) -> Keywords:
    return dict(zip(names, args, strict=False)) | kwargs


def tensors_in(things: Arguments) -> list[Tensor]:
    """Tensors among `things` and in lists and tuples among them."""
    flat: list[Any] = []
    for thing in things:
        flat.extend(thing if isinstance(thing, list | tuple) else (thing,))
    return [thing for thing in flat if isinstance(thing, Tensor)]


def asks(things: Arguments) -> bool:
    """Whether any tensor among `things` asks for a gradient."""
    return any(tensor.requires_grad for tensor in tensors_in(things))
