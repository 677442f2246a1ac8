"""Many samples in one record: every field is a tensor whose first axis is the samples, so it can be cut and joined."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TypeVar

import torch

Record = TypeVar("Record", bound="Rows")


@dataclass(frozen=True)
class Rows:
    """Base of frozen dataclasses whose every field is a tensor with the samples first."""

    def __len__(self) -> int:
        return len(getattr(self, fields(self)[0].name))

    def part(self: Record, start: int, stop: int) -> Record:
        """Samples `start` to `stop - 1`."""
        return type(self)(**{field.name: getattr(self, field.name)[start:stop] for field in fields(self)})

    def to(self: Record, device: torch.device | str) -> Record:
        """The same on another device."""
        return type(self)(**{field.name: getattr(self, field.name).to(device) for field in fields(self)})

    @classmethod
    def joined(cls: type[Record], parts: Sequence[Record]) -> Record:
        """The parts end to end."""
        names = [field.name for field in fields(cls)]
        return cls(**{name: torch.cat([getattr(part, name) for part in parts]) for name in names})
