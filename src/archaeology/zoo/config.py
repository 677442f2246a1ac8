"""What to measure and how: the one object behind the command line, `measure_zoo` and `config.json`."""

from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

LENGTHS = (256, 512, 1024, 2048, 4096, 8192, 16384)


class ZooConfig(BaseModel):
    """Time, memory and error of attention mechanisms on this machine's CPU."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mechanisms: tuple[str, ...] | None = Field(
        default=None,
        description="their names; None takes all; 'softmax', the yardstick, is always among them",
    )
    lengths: tuple[int, ...] = Field(default=LENGTHS, description="numbers of tokens, growing")
    heads: int = Field(default=4, ge=1, description="attention heads")
    head_dim: int = Field(default=64, ge=1, description="features of a head")
    dtype: Literal["float32", "bfloat16", "float16"] = Field(default="float32")
    rounds: int = Field(
        default=5, ge=2, description="how often each is timed, all in turn; medians are shown"
    )
    draws: int = Field(default=3, ge=1, description="inputs that errors are measured on, of each kind")
    score_stds: tuple[Annotated[float, Field(gt=0)], ...] = Field(
        default=(0.5, 2.0),
        min_length=1,
        description="standard deviations of the scores on the inputs for errors: flat attention, sharp attention",
    )
    patience: float = Field(
        default=30.0,
        gt=0,
        description="seconds that one forward and backward pass may take; else it is skipped",
    )
    threads: int = Field(default=1, ge=1, description="CPU threads")
    clock: Literal["wall", "cpu"] = Field(default="wall", description="cpu is fairer on a busy machine")
    tune_allocation: bool = Field(
        default=True, description="let glibc keep freed memory while timing (core/allocation.py)"
    )
    seed: int = Field(default=0, ge=0, description="of inputs, random features and the bootstrap")
    out: Path = Field(default=Path("runs/zoo"), description="run directory")

    @field_validator("lengths")
    @classmethod
    def _growing(cls, lengths: tuple[int, ...]) -> tuple[int, ...]:
        if not lengths or lengths[0] < 1 or any(later <= earlier for earlier, later in pairwise(lengths)):
            raise ValueError("lengths must be whole numbers from 1 on that grow")
        return lengths
