"""What takes the numbers of a training; those besides JSON lines are known by name, with their packages optional."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol, runtime_checkable

from archaeology.core.errors import MissingExtraError
from archaeology.core.registry import Registry


@runtime_checkable
class Tracker(Protocol):
    """Takes numbers as they come."""

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        """Record `numbers` at `step`."""
        ...

    def close(self) -> None:
        """Flush and let go."""
        ...


@dataclass(frozen=True)
class Tracked:
    """The training that is tracked.

    Attributes:
        folder: Its checkpoint folder; the folder's name is the name of the run.
        facts: What is known beforehand: recipe, seed, `config` (a mapping), data and so on, ready for JSON.
        resume_step: The step it goes on from; None for a training that starts.
    """

    folder: Path
    facts: Mapping[str, Any] = field(default_factory=dict)
    resume_step: int | None = None

    @property
    def project(self) -> str:
        """What groups comparable runs: the recipe, where there is one."""
        return str(self.facts.get("recipe", "attention-archaeology"))

    def settings(self) -> dict[str, Any]:
        """The facts as one flat mapping: `config.seed` instead of `config: {seed}`."""
        flat: dict[str, Any] = {}
        for name, value in self.facts.items():
            if isinstance(value, Mapping):
                flat |= {f"{name}.{key}": item for key, item in value.items()}
            else:
                flat[name] = value
        return flat


trackers: Registry[Callable[[Tracked], Tracker]] = Registry("tracker")


def package_for(tracker: str, package: str, module: str | None = None) -> ModuleType:
    """The module (or the package itself) that a tracker needs.

    Raises:
        MissingExtraError: If the package is not installed; names the extra that brings it.
    """
    try:
        return import_module(module or package)
    except ImportError as error:
        raise MissingExtraError(package, "track", f"tracking with {tracker!r}") from error
