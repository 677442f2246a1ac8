"""Ways to compute the same attention, by name."""

from collections.abc import Callable

from torch import Tensor

from archaeology.attention.kernels.problem import Problem
from archaeology.core.registry import Registry

kernels: Registry[Callable[[Problem], Tensor]] = Registry("attention kernel")
