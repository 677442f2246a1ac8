"""What to measure and how: the one object behind the command line, `measure_profile` and `profile.json`."""

from itertools import pairwise
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

#: Three of one size: about 4.5 billion multiply-adds for an image of 224 pixels.
SIDE_BY_SIDE = ("timm:vit_small_patch16_224", "timm:swin_tiny_patch4_window7_224", "timm:resnet50")


class ProfileConfig(BaseModel):
    """Parameters, FLOPs, memory, latency and throughput of specimens on this machine."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    specimens: tuple[str, ...] = Field(
        default=(),
        description="specs such as timm:resnet50 or run:FOLDER; none, and no --patch-sizes: ViT-S, Swin-T, ResNet-50",
    )
    image_sizes: tuple[int, ...] = Field(
        default=(), description="sides in pixels to build every specimen for; none: its own"
    )
    patch_sizes: tuple[int, ...] = Field(
        default=(), description="also build --patch-model with patches of these sides, as in 4 8 16"
    )
    patch_model: str = Field(
        default="timm:vit_small_patch16_224",
        description="vision transformer for --patch-sizes; 'vit' is our own, on 32 pixels",
    )
    batch_sizes: tuple[int, ...] = Field(
        default=(1, 64), description="images in one forward pass, growing; the first gives the latency"
    )
    rounds: int = Field(
        default=10, ge=2, description="how often each is timed, all in turn; median, p10 and p90 are shown"
    )
    warm_up: int = Field(default=1, ge=1, description="forward passes before the first that is timed")
    patience: float = Field(
        default=60.0, gt=0, description="seconds that one forward pass may take; else it is skipped"
    )
    threads: int = Field(default=1, ge=1, description="CPU threads")
    clock: Literal["wall", "cpu"] = Field(default="wall", description="cpu is fairer on a busy machine")
    device: str = Field(default="auto", description="auto, cpu, cuda, cuda:N or mps")
    dtype: Literal["float32", "bfloat16", "float16"] = Field(default="float32")
    tune_allocation: bool = Field(
        default=True, description="let glibc keep freed memory while timing (core/allocation.py)"
    )
    seed: int = Field(default=0, ge=0, description="of images and of random weights")
    out: Path = Field(default=Path("runs/profile"), description="run directory")

    @field_validator("batch_sizes", "image_sizes", "patch_sizes")
    @classmethod
    def _growing(cls, sizes: tuple[int, ...]) -> tuple[int, ...]:
        if (sizes and sizes[0] < 1) or any(later <= earlier for earlier, later in pairwise(sizes)):
            raise ValueError("must be whole numbers from 1 on that grow")
        return sizes

    @model_validator(mode="after")
    def _fits_together(self) -> "ProfileConfig":
        if not self.batch_sizes:
            raise ValueError(
                "batch_sizes must name at least one size, but there is none; try --batch-sizes 1 64"
            )
        if self.patch_sizes and len(self.image_sizes) > 1:
            raise ValueError(
                f"patch_sizes are compared on one image size, but image_sizes are {self.image_sizes}; give one, or "
                "run the command once for each"
            )
        if self.clock == "cpu" and self.device not in ("auto", "cpu"):
            raise ValueError(f"clock cpu does not see the work of device {self.device}; use clock wall")
        return self
