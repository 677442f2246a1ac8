"""What to dig and how deep: the one object behind the command line, `archaeology.dig` and `config.json`."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, model_validator


class DigConfig(BaseModel):
    """A comparison of one vision transformer with one CNN on the same images."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    vit: str = Field(
        default="bundled:vit_cue_conflict", description="the transformer, e.g. timm:vit_base_patch16_224"
    )
    cnn: str = Field(default="bundled:convnet_cue_conflict", description="the CNN, e.g. torchvision:resnet50")
    data: str = Field(
        default="cue_conflict", description="the images, e.g. folder:photos/ or parquet:cifar10/"
    )
    split: str | None = Field(
        default=None, description="which part of the data; None takes the one meant for testing"
    )
    training_data: str | None = Field(
        default=None,
        description="what the models learned from, where known: copies of it in the data are told",
    )
    training_split: str | None = Field(
        default=None, description="which part of that; None takes train, or all where there are no parts"
    )
    images: int = Field(default=1000, ge=1, description="how many images, chosen evenly over the classes")
    out: Path | None = Field(default=None, description="run directory; None makes one under runs/")
    seed: int = Field(default=0, ge=0, description="of the choice of images and of the bootstrap")
    batch_size: int = Field(
        default=50, ge=1, description="images a step; a step is also what a killed dig redoes at most"
    )
    ablation_images: int | None = Field(
        default=None,
        ge=1,
        description="images that head ablation is measured on; None takes all where that is quick",
    )
    judge_images: int | None = Field(
        default=None,
        ge=0,
        description="images that methods of explanation are judged on; None takes as many as are quick, 0 none",
    )
    pruning_images: int | None = Field(
        default=None,
        ge=0,
        description="images that heads are pruned on, half to choose, half to measure; None where quick, 0 none",
    )
    robustness_images: int | None = Field(
        default=None,
        ge=0,
        description="images that both models are attacked and disturbed on; None takes as many as are quick, 0 none",
    )
    causes_images: int | None = Field(
        default=None,
        ge=0,
        description="images on which causes of failure are looked for; None takes as many as are quick, 0 none",
    )
    represent_images: int | None = Field(
        default=None,
        ge=0,
        description="images that layers are compared and read on, half known, half asked; None where quick, 0 none",
    )
    dissect_images: int | None = Field(
        default=None,
        ge=0,
        description="images on which failures are taken apart; None takes as many as are quick, 0 none",
    )
    layer_images: int = Field(default=20, ge=1, le=64, description="images shown through all layers")
    pair_images: int = Field(default=50, ge=1, le=200, description="images shown side by side")
    skip_bad: bool = Field(default=False, description="leave out images that cannot be read, and count them")
    device: str = Field(default="auto", description="auto, cpu, cuda, cuda:N or mps")
    threads: int | None = Field(default=None, ge=1, description="CPU threads; None leaves PyTorch's choice")

    @model_validator(mode="after")
    def _check_training_data(self) -> "DigConfig":
        """Nothing about training data is asked for in vain."""
        if self.training_split is not None and self.training_data is None:
            raise ValueError(
                f"training_split goes with training_data, but there is none beside {self.training_split!r}; name the "
                "data, too, or leave out the split."
            )
        if self.training_data is not None and self.causes_images == 0:
            raise ValueError(
                "training_data is where copies are looked for when causes of failure are, but causes_images is 0; ask "
                "for some, or leave out the data."
            )
        return self
