"""The few errors that somebody catches by class; all else is a plain `ValueError` with a clear message."""

from collections.abc import Mapping
from typing import Any


class UnknownNameError(ValueError):
    """A name that no registry holds; the message lists what there is and suggests the near miss."""


class MissingExtraError(ImportError):
    """An optional package is absent; the message says which and how to install it."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        """Name the `package` that is missing, the `extra` that brings it, and what it is needed for."""
        super().__init__(
            f"{purpose} needs the package {package!r}, which is not installed; "
            f"run: pip install 'attention-archaeology[{extra}]'"
        )


class MlpNotFoundError(ValueError):
    """A model whose MLPs cannot be told apart; the message names the block."""


class BadImageError(ValueError):
    """An image that cannot be decoded; the message names its path."""


class SelfCheckError(RuntimeError):
    """A capture that does not reproduce the model, so no false picture is drawn; names the layer."""


class TrainingFailedError(RuntimeError):
    """A training that cannot go on; `facts` are what `failure.json` of its run holds."""

    def __init__(self, message: str, facts: Mapping[str, Any]) -> None:
        super().__init__(message)
        self.facts = {**facts, "message": message}


class NonFiniteLossError(TrainingFailedError, FloatingPointError):
    """The loss is infinite or not a number."""


class OutOfMemoryError(TrainingFailedError):
    """Memory ran out in a step; the message says which batch would fit."""
