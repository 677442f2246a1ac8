"""PyTorch's functions as a function mode meets them: what they are called, and how to look inside one."""

from collections.abc import Callable
from types import FunctionType
from typing import Any


def name_of(func: Callable[..., Any]) -> str:
    """What a function is called: the same for `torch.softmax`, `Tensor.softmax`, `F.softmax` and in aten."""
    name = getattr(func, "__name__", "")
    if name == "__get__":  # an attribute such as Tensor.mT
        name = getattr(getattr(func, "__self__", None), "__name__", "")
    return name.partition(".")[0]


def unaware(func: Callable[..., Any]) -> Callable[..., Any]:
    """The same function, except that it finds no mode or subclass to hand itself over to."""
    assert isinstance(func, FunctionType)
    surroundings = {**func.__globals__, "has_torch_function": lambda _: False}
    twin = FunctionType(func.__code__, surroundings, func.__name__, func.__defaults__, func.__closure__)
    twin.__kwdefaults__ = func.__kwdefaults__
    return twin
