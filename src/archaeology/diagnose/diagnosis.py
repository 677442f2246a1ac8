"""One thing that went wrong in a training: its name, the numbers that show it, and what to do about it."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from archaeology.core.registry import Registry
from archaeology.diagnose.history import RunHistory
from archaeology.diagnose.look import AttentionLayer


@dataclass(frozen=True)
class Diagnosis:
    """What went wrong.

    Attributes:
        name: For example "divergence".
        evidence: A sentence with the numbers of this run.
        remedy: What to do.
        numbers: The evidence for programs, ready for JSON.
    """

    name: str
    evidence: str
    remedy: str
    numbers: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Case:
    """What a check looks at.

    Attributes:
        history: What the training wrote down.
        attention: What its layers do on some images; empty where nobody looked.
        found: What the checks before have found.
    """

    history: RunHistory
    attention: tuple[AttentionLayer, ...] = ()
    found: tuple[Diagnosis, ...] = ()

    def has(self, *names: str) -> bool:
        """Whether one of these was found already."""
        return any(diagnosis.name in names for diagnosis in self.found)


Check = Callable[[Case], Iterator[Diagnosis]]
checks: Registry[Check] = Registry("check of a training")
