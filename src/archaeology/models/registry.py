"""Models by name, so that a checkpoint is two things: a name with arguments, and tensors."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from archaeology.core.registry import Registry, unknown_name

models: Registry[Callable[..., nn.Module]] = Registry("model")


def build(architecture: str, arguments: Mapping[str, Any]) -> nn.Module:
    """The model called `architecture` with these keyword arguments and fresh weights.

    Raises:
        UnknownNameError: If there is no such architecture, or it has no such argument.
        ValueError: If the arguments do not fit together.
    """
    maker = models.get(architecture)
    accepted = list(inspect.signature(maker).parameters)
    for name in arguments:
        if name not in accepted:
            raise unknown_name(f"argument of {architecture}", name, accepted)
    return maker(**arguments)
