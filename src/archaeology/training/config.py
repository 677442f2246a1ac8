"""Everything that decides how a training goes, in one frozen object that is stored with its result."""

import re
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

SECONDS_OF = {"s": 1, "m": 60, "h": 3600}


def seconds(text: object) -> object:
    """`"90s"`, `"10m"` or `"1.5h"` as seconds; numbers and None pass through.

    Raises:
        ValueError: If the text is none of these.
    """
    if not isinstance(text, str):
        return text
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh]?)", text.strip())
    if not found:
        raise ValueError(f"a duration must look like 90s, 10m or 1.5h, but got {text!r}")
    return float(found[1]) * SECONDS_OF[found[2] or "s"]


Seconds = Annotated[float, BeforeValidator(seconds), Field(gt=0)]


class TrainConfig(BaseModel):
    """How to train: optimizer, schedule, augmentation, precision, seed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: float = Field(default=10, gt=0, description="passes over the training images")
    batch_size: int = Field(default=256, ge=1)
    optimizer: Literal["muon", "adamw", "adam"] = "muon"
    learning_rate: float = Field(
        default=0.02, gt=0, description="of the matrices (Muon), or of everything (Adam, AdamW)"
    )
    other_learning_rate: float = Field(
        default=2e-3, gt=0, description="of what Muon leaves to AdamW: stem, head, vectors"
    )
    momentum: float = Field(default=0.95, ge=0, lt=1)
    weight_decay: float = Field(default=0.05, ge=0, description="decoupled, on matrices only")
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    warmup: float = Field(
        default=0.03, ge=0, lt=1, description="share of the training spent rising to the full rate"
    )
    label_smoothing: float = Field(default=0.1, ge=0, lt=1)
    crop_padding: int = Field(
        default=4, ge=0, description="pixels of reflected border to crop from; 0 for none"
    )
    flip: bool = Field(default=True, description="mirror half of the images")
    patch_keep: tuple[tuple[float, float], ...] = Field(
        default=(),
        description="PatchDropout: from this share of the training on, keep this share of the patches",
    )
    budget: Seconds | None = Field(
        default=None, description="wall time after which the schedule has run out, e.g. 10m"
    )
    device: str = "auto"
    dtype: str = Field(default="auto", description="of the matrix products: auto, float32, bfloat16")
    threads: int | None = Field(default=None, ge=1, description="CPU threads; None leaves PyTorch's choice")
    weights: Literal["float32", "bfloat16"] = Field(
        default="float32", description="precision in which weights are saved"
    )
    seed: int = Field(default=0, ge=0)
