"""Everything that decides how a training goes, in one frozen object that is stored with its result."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

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


def frozen_part(text: object) -> object:
    """`"none"`, `"backbone"` or `"blocks:N"`, checked.

    Raises:
        ValueError: If it is none of these.
    """
    if text not in ("none", "backbone") and not re.fullmatch(r"blocks:[1-9]\d*", str(text)):
        raise ValueError(f"freeze must be none, backbone or blocks:N with N >= 1, but got {text!r}")
    return text


def fraction(text: object) -> object:
    """`"8/255"` as a number; whatever is no such text passes through.

    Raises:
        ValueError: If the text is neither a number nor a fraction.
    """
    if not isinstance(text, str):
        return text
    found = re.fullmatch(r"(\d+(?:\.\d+)?|\.\d+)(?:/(\d+))?", text.strip())
    if not found or (found[2] is not None and not int(found[2])):
        raise ValueError(f"a size must look like 0.03 or 8/255, but got {text!r}")
    return float(found[1]) / int(found[2] or 1)


def pixel_size(size: float) -> float:
    """A size for pixels in [0, 1], checked.

    Raises:
        ValueError: If it is not in (0, 1]; says what may have been meant.
    """
    if not 0 < size <= 1:
        meant = f"did you mean {size:g}/255?" if 1 < size <= 255 else "8/255 is customary for CIFAR-10."
        raise ValueError(f"it must lie in (0, 1], as pixels lie in [0, 1], but got {size:g}; {meant}")
    return size


PixelSize = Annotated[float, BeforeValidator(fraction), AfterValidator(pixel_size)]
Seconds = Annotated[float, BeforeValidator(seconds), Field(gt=0)]


class TrainConfig(BaseModel):
    """How to train: optimizer, schedule, augmentation, regularisation, precision, devices, seed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: float = Field(default=10, gt=0, description="passes over the training images")
    batch_size: int = Field(default=256, ge=1, description="images of a step, over all processes and parts")
    accumulate: int = Field(
        default=1, ge=1, description="parts a process works through one by one for every step, to save memory"
    )
    optimizer: Literal["muon", "adamw", "adam"] = "muon"
    learning_rate: float = Field(
        default=0.02, gt=0, description="of the matrices (Muon), or of everything (Adam, AdamW)"
    )
    other_learning_rate: float = Field(
        default=2e-3, gt=0, description="of what Muon leaves to AdamW: stem, head, vectors"
    )
    layer_decay: float = Field(
        default=1.0, gt=0, le=1, description="learning rate of a block over that of the next; 1 for none"
    )
    momentum: float = Field(default=0.95, ge=0, lt=1)
    weight_decay: float = Field(default=0.05, ge=0, description="decoupled, on matrices only")
    schedule: Literal["linear", "cosine", "one_cycle", "constant"] = "linear"
    warmup: float = Field(
        default=0.03, ge=0, lt=1, description="share of the training spent rising to the full rate"
    )
    clip: float | None = Field(default=None, gt=0, description="largest norm of all gradients together")
    ema: float = Field(
        default=0.0, ge=0, lt=1, description="share kept per step by the averaged weights; 0 for none"
    )
    label_smoothing: float = Field(default=0.1, ge=0, lt=1)
    drop_path: float = Field(
        default=0.0, ge=0, lt=1, description="chance to skip the last block, rising from 0 at the first"
    )
    crop_padding: int = Field(
        default=4, ge=0, description="pixels of reflected border to crop from; 0 for none"
    )
    flip: bool = Field(default=True, description="mirror half of the images")
    policy: Literal["none", "rand", "trivial"] = Field(
        default="none", description="RandAugment or TrivialAugment"
    )
    colour: float = Field(default=0.0, ge=0, le=1, description="jitter of brightness, contrast, saturation")
    erasing: float = Field(default=0.0, ge=0, le=1, description="chance to erase a rectangle of an image")
    mixup: float = Field(default=0.0, ge=0, description="alpha of Mixup's Beta distribution; 0 for none")
    cutmix: float = Field(default=0.0, ge=0, description="alpha of CutMix's Beta distribution; 0 for none")
    patch_keep: tuple[tuple[float, float], ...] = Field(
        default=(),
        description="PatchDropout: from this share of the training on, keep this share of the patches",
    )
    distill: Literal["none", "soft", "hard"] = Field(
        default="none", description="learn from a teacher's probabilities, or from what it says"
    )
    distill_weight: float = Field(default=0.5, ge=0, le=1, description="share of the teacher in the loss")
    temperature: float = Field(
        default=3.0, gt=0, description="by which soft distillation divides both sides' logits"
    )
    adversarial: Literal["none", "fast", "pgd", "trades"] = Field(
        default="none",
        description="learn from images changed to raise the loss: by one step from a random start, or by several; or "
        "from images as they are, and from how far changed ones move the answer",
    )
    epsilon: PixelSize = Field(
        default=8 / 255,
        description="largest change of a pixel in [0, 1] that an adversary may make, e.g. 8/255",
    )
    attack_steps: int | None = Field(
        default=None, ge=1, description="gradients that an adversary takes; None takes 7 (pgd), 10 (trades)"
    )
    attack_step_size: PixelSize | None = Field(
        default=None,
        description="how far it moves a pixel in a step; None takes 1.25 epsilon (fast), 0.25 epsilon (pgd, trades)",
    )
    trades_weight: float | None = Field(
        default=None,
        gt=0,
        description="of TRADES, how much it counts that answers stay where they are; None takes 6",
    )
    freeze: Annotated[str, BeforeValidator(frozen_part)] = Field(
        default="none", description="what is not trained: none, backbone, or blocks:N for the first N"
    )
    budget: Seconds | None = Field(
        default=None, description="wall time after which the schedule has run out, e.g. 10m"
    )
    save_every: Seconds = Field(
        default=600.0, description="wall time between states to go on from; one is also saved every epoch"
    )
    log_every: int = Field(default=50, ge=1, description="steps between lines of metrics.jsonl")
    device: str = "auto"
    dtype: str = Field(
        default="auto", description="of the matrix products: auto, float32, bfloat16, float16 (with scaler)"
    )
    parallel: Literal["ddp", "fsdp"] = Field(
        default="ddp", description="under torchrun: every process has all weights, or a share of them"
    )
    compile: bool = Field(default=False, description="compile the model with torch.compile")
    checkpoint_blocks: bool = Field(
        default=False, description="compute blocks again in the backward pass, to save memory"
    )
    threads: int | None = Field(default=None, ge=1, description="CPU threads; None leaves PyTorch's choice")
    weights: Literal["float32", "bfloat16"] = Field(
        default="float32", description="precision in which weights are saved"
    )
    seed: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _fit_together(self) -> "TrainConfig":
        if self.batch_size % self.accumulate:
            raise ValueError(
                f"accumulate must divide batch_size, but got {self.batch_size=} and {self.accumulate=}"
            )
        if self.adversarial == "fast" and self.attack_steps not in (None, 1):
            raise ValueError(
                f"the fast adversary takes one step, but got {self.attack_steps=}; leave it out, or choose pgd"
            )
        if self.trades_weight is not None and self.adversarial != "trades":
            raise ValueError(
                f"trades_weight is of the adversary trades, but got {self.adversarial=}; choose trades or leave it out"
            )
        return self
