"""Differentiate a model by the rules of relevance propagation, with the model left as it is.

Relevance handed back layer by layer is a gradient times an input, if a few of PyTorch's functions are differentiated
as if they were linear. Inside `relevance_rules(model)` one `TorchFunctionMode` sees every call above autograd, lets it
compute what it computes, and changes what the backward pass will make of it:

* Layer, group and RMS norm: what they divide by is a constant. Also where a model writes them out with `rsqrt`, `sqrt`,
  `std`, `var` or `norm`, or divides by anything that depends on the image.
* Element-wise activations: `f(x) = f(0) + x * h`, where `h = (f(x) - f(0)) / x` is a constant.
* Products of two tensors that both depend on the image (queries and keys, pattern and values, gates): each gets half.
  A sigmoid that multiplies something is a gate, a constant.
* Softmax: its gradient (the first term of a Taylor series). With `rule="cp"` the pattern is a constant instead.
* `F.scaled_dot_product_attention` and the mechanisms of `archaeology.attention` are a product of queries and keys
  inside a product with values: queries and keys get a quarter, values half. The fused kernel stays.
* Everything linear (convolution, linear layers, pooling, residual sums, batch norm in evaluation), ReLU and maxima: as
  they are, which is the epsilon rule with epsilon zero. With `gamma` above zero, contributions of a linear or
  convolutional layer that agree with the sign of its answer count that much more.

Sources: `achtibat2024attnlrp`; for `rule="cp"` `ali2022xai`; for gamma `montavon2019layer`. Differs: what an activation
gives at zero is a bias, and a sigmoid gate gets nothing, because the rules as written divide by numbers near
zero there.

Not seen: activations and softmaxes written out by hand, which are taken as the products and sums they are made of;
and what recomputes in the backward pass (gradient checkpointing), so switch that off.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakTensorKeyDictionary

from archaeology.attention.mechanism import Mechanism
from archaeology.capture.follow import SOFTMAX
from archaeology.capture.functions import name_of, unaware
from archaeology.capture.hidden import refuse_hidden
from archaeology.capture.linearised import (
    Arguments,
    Function,
    Keywords,
    Rule,
    asks,
    constant,
    division,
    gamma_weighted,
    group_norm,
    layer_norm,
    linear_through_zero,
    power,
    rescaling,
    rms_norm,
    scaled,
    tensors_in,
)
from archaeology.core.registry import unknown_name

RULES = ("attnlrp", "cp")

GATES = frozenset({"sigmoid", "sigmoid_", "hardsigmoid"})
ACTIVATIONS = frozenset(
    "gelu silu silu_ mish mish_ hardswish hardswish_ tanh tanh_ elu elu_ selu selu_ celu celu_ softplus "
    "hardtanh hardtanh_ relu6 softsign logsigmoid tanhshrink erf square square_".split()
)
POWERS = frozenset({"pow", "pow_", "__pow__", "__ipow__"})
IN_PLACE_TIMES = frozenset({"mul_", "multiply_", "__imul__"})
TIMES = IN_PLACE_TIMES | frozenset({"mul", "multiply", "__mul__", "__rmul__"})
PRODUCTS = TIMES | frozenset({"matmul", "__matmul__", "__rmatmul__", "bmm", "mm", "einsum"})
SUMS_WITH_PRODUCTS = frozenset({"baddbmm", "addmm", "addbmm", "addcmul"})  # what comes first is only added
DIVISIONS = frozenset({"div", "div_", "divide", "true_divide", "__truediv__", "__itruediv__"})
DENOMINATORS = frozenset(
    {"rsqrt", "sqrt", "std", "var", "norm", "linalg_norm", "linalg_vector_norm", "vector_norm"}
)
RESCALINGS = frozenset({"normalize", "local_response_norm"})
LINEAR = frozenset({"linear", "conv1d", "conv2d", "conv3d"})


@contextmanager
def relevance_rules(model: nn.Module, rule: str = "attnlrp", gamma: float = 0.0) -> Iterator[None]:
    """Whatever `model` computes inside the block is differentiated by the rules; what it answers is unchanged.

    Parameters must not ask for gradients meanwhile: what does not ask for one is a constant to the rules. The backward
    pass may happen inside the block or after it.

    Args:
        model: Any eager PyTorch model.
        rule: "attnlrp", or "cp" where patterns of attention are constants.
        gamma: How much more agreeing contributions count in linear and convolutional layers; 0 for all alike.

    Raises:
        UnknownNameError: If there is no such rule.
        ValueError: If `gamma` is negative or not finite.
        SelfCheckError: If the model, or a part of it, was compiled or scripted, so that its calls cannot be seen.
    """
    if rule not in RULES:
        raise unknown_name("relevance rule", rule, list(RULES))
    if not 0 <= gamma < float("inf"):
        raise ValueError(
            f"gamma must be finite and >= 0, but got {gamma=}; 0.25 is customary for convolutions."
        )
    refuse_hidden(model)
    with _Rules(rule == "cp", gamma):
        yield


class _Rules(TorchFunctionMode):
    """Sees each call first, and says what the backward pass shall make of it."""

    def __init__(self, constant_patterns: bool, gamma: float) -> None:
        super().__init__()
        self.constant_patterns = constant_patterns
        self.gamma = gamma
        self.gates = WeakTensorKeyDictionary()
        self.rules = self._rules()

    def __torch_function__(
        self, func: Function, types: object, args: Arguments = (), kwargs: Keywords | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if not torch.is_grad_enabled() or not asks((*args, *kwargs.values())):
            return func(*args, **kwargs)
        if func is Mechanism.forward:
            return func(args[0], *self._attending(*args[1:4]), **kwargs)
        rule = self.rules.get(name_of(func))
        return func(*args, **kwargs) if rule is None else rule(func, args, kwargs)

    def _rules(self) -> dict[str, Rule]:
        """What to do with a call of a function, by its name; what is not here is linear anyway."""
        found: dict[str, Rule] = {
            "scaled_dot_product_attention": self._fused,
            "multi_head_attention_forward": self._multi_head,
            "layer_norm": layer_norm,
            "rms_norm": rms_norm,
            "group_norm": group_norm,
        }
        found |= dict.fromkeys(ACTIVATIONS, linear_through_zero) | dict.fromkeys(GATES, self._gate)
        found |= {name: partial(self._product, name) for name in PRODUCTS | SUMS_WITH_PRODUCTS}
        found |= dict.fromkeys(POWERS, power) | dict.fromkeys(DIVISIONS, division)
        found |= dict.fromkeys(DENOMINATORS, constant) | dict.fromkeys(RESCALINGS, rescaling)
        if self.gamma > 0:
            found |= dict.fromkeys(LINEAR, partial(gamma_weighted, self.gamma))
        if self.constant_patterns:
            found |= dict.fromkeys(SOFTMAX, constant)
        return found

    def _gate(self, func: Function, args: Arguments, kwargs: Keywords) -> Tensor:
        result = linear_through_zero(func, args, kwargs)
        self.gates[result] = True
        return result

    def _product(self, name: str, func: Function, args: Arguments, kwargs: Keywords) -> Any:
        """Factors that depend on the image share alike, but gates get nothing where something else does."""
        first = 1 if name in SUMS_WITH_PRODUCTS else 0
        factors = tensors_in((*args[first:], *(kwargs[key] for key in kwargs if key != "input" or not first)))
        asking = [factor for factor in factors if factor.requires_grad]
        signals = [factor for factor in asking if not (name in TIMES and factor in self.gates)]
        signals = signals or asking
        if len(asking) < 2:
            return func(*args, **kwargs)

        def share(thing: Any) -> Any:
            if isinstance(thing, list | tuple):
                return [share(part) for part in thing]  # pyright: ignore[reportUnknownVariableType]
            if not isinstance(thing, Tensor) or not thing.requires_grad:
                return thing
            return scaled(thing, 1 / len(signals)) if any(thing is one for one in signals) else thing.detach()

        given = (*args[:first], *(share(thing) for thing in args[first:]))
        named = {key: thing if key == "input" and first else share(thing) for key, thing in kwargs.items()}
        if name not in IN_PLACE_TIMES:
            return func(*given, **named)
        product = torch.mul(given[0].clone(), *given[1:], **named)
        return args[0].copy_(product)

    def _attending(self, query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What softmax attention takes in, each with its share of the relevance that comes back."""
        if self.constant_patterns:
            return query.detach(), key.detach(), value
        of_pattern = 0.5 if value.requires_grad else 1.0
        of_value = 0.5 if query.requires_grad or key.requires_grad else 1.0
        of_either = of_pattern * (0.5 if query.requires_grad and key.requires_grad else 1.0)
        return scaled(query, of_either), scaled(key, of_either), scaled(value, of_value)

    def _fused(self, func: Function, args: Arguments, kwargs: Keywords) -> Tensor:
        names = ("query", "key", "value")
        given = dict(zip(names, args, strict=False)) | {
            name: kwargs[name] for name in names if name in kwargs
        }
        rest = {name: thing for name, thing in kwargs.items() if name not in names}
        return func(*self._attending(given["query"], given["key"], given["value"]), *args[3:], **rest)

    def _multi_head(self, func: Function, args: Arguments, kwargs: Keywords) -> Any:
        """PyTorch's own function, run with the rules still on, so that the attention inside is seen."""
        with self:
            return unaware(func)(*args, **kwargs)
