"""A model of images and texts: both land in one space, so that a sentence can be compared with a picture.

One small protocol, whoever made the model: ours (`run:FOLDER`), open_clip's or Hugging Face's.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from archaeology.core.device import choose_device
from archaeology.core.registry import Registry
from archaeology.core.shapes import Image, PixelImage
from archaeology.specimens.load import parse
from archaeology.specimens.registry import Options, libraries
from archaeology.specimens.specimen import Specimen

Embeddings = Float[Tensor, "batch embed"]


@runtime_checkable
class ImageTextModel(Protocol):
    """Whatever can say where images and texts lie in one space.

    Attributes:
        name: What the user called it.
        image_size: Height and width of the images it was trained on, in pixels.
        scale: By what cosines are multiplied before the softmax over texts that the model was trained with; the inverse
            of a temperature. None where it was trained otherwise (SigLIP: a sigmoid for each pair) or it is not known.
        classes: Names it was trained to tell apart; empty where it was trained on sentences.
        wordings: Templates with "{}" that its training captions followed; empty where they are not known.
    """

    @property
    def name(self) -> str: ...  # noqa: D102

    @property
    def image_size(self) -> tuple[int, int]: ...  # noqa: D102

    @property
    def scale(self) -> float | None: ...  # noqa: D102

    @property
    def classes(self) -> Sequence[str]: ...  # noqa: D102

    @property
    def wordings(self) -> Sequence[str]: ...  # noqa: D102

    def encode_images(self, images: Image | PixelImage) -> Embeddings:
        """Where images in [0, 1] or 8 bit lie, at length one."""
        ...

    def encode_texts(self, texts: Sequence[str]) -> Float[Tensor, "text embed"]:
        """Where texts lie, at length one."""
        ...


@dataclass(frozen=True, eq=False)
class TwoTowers:
    """An `ImageTextModel` made of two encoders.

    Attributes:
        specimen: The encoder of images; it gives embeddings.
        whole: The module that holds both encoders.
        read: From texts to embeddings, on the device of `whole`.
        scale: As in `ImageTextModel`.
        classes: Likewise.
        wordings: Likewise.
    """

    specimen: Specimen
    whole: nn.Module
    read: Callable[[Sequence[str]], Tensor]
    scale: float | None
    classes: tuple[str, ...] = ()
    wordings: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """As the specimen's."""
        return self.specimen.name

    @property
    def image_size(self) -> tuple[int, int]:
        """As the specimen's."""
        return self.specimen.image_size

    @torch.no_grad()
    def encode_images(self, images: Image | PixelImage) -> Embeddings:
        """Where images lie, at length one."""
        return F.normalize(self.specimen.predict(images).float(), dim=-1)

    @torch.no_grad()
    def encode_texts(self, texts: Sequence[str]) -> Float[Tensor, "text embed"]:
        """Where texts lie, at length one.

        Raises:
            ValueError: If there is no text, or the model cannot read one.
        """
        if not texts:
            raise ValueError("encode_texts needs at least one text, but got none.")
        return F.normalize(self.read(list(texts)).float(), dim=-1)


#: Prefix -> loader of `NAME` and its options, onto the CPU.
image_text_models: Registry[Callable[[str, Options], TwoTowers]] = Registry("library of image-text models")


def load_image_text(spec: str, *, device: str = "auto") -> TwoTowers:
    """The model of images and texts that `spec` names, in evaluation mode, on `device`.

    Args:
        spec: `run:FOLDER` of a recipe that learnt from captions, `open_clip:NAME`, or `hf:NAME` (CLIP, SigLIP and
            whatever else has `get_image_features` and `get_text_features`), with options as for `load`.
        device: auto, cpu, cuda, cuda:N or mps.

    Raises:
        UnknownNameError: If the prefix or the name is unknown; the message suggests the nearest one.
        ValueError: If the model reads no text, the options do not fit, or the checkpoint is broken.
        ConnectionError: If weights or a tokenizer have to be fetched and cannot be.
        MissingExtraError: If the library is not installed.
    """
    chosen = choose_device(device)
    prefix, name, options = parse(spec)
    libraries.get(prefix)  # which suggests the nearest
    if prefix not in image_text_models:
        raise no_text(spec, f"{prefix}: models know classes and no sentences")
    model = image_text_models.get(prefix)(name, options)
    model.whole.to(chosen).eval()
    model.specimen.model.to(chosen).eval()
    return model


def no_text(spec: str, why: str) -> ValueError:
    """What to say of a model that cannot read."""
    return ValueError(
        f"{spec} must read texts to name images by words, but has no text side ({why}); take an open_clip: model, a "
        "CLIP or SigLIP as hf:NAME, or run:FOLDER of a recipe image_text_..."
    )


def softmax_scale(network: nn.Module) -> float | None:
    """The scale that a model of open_clip or Hugging Face learnt for its softmax over texts; None where it has none.

    A bias beside the scale is that of a sigmoid for each pair (`zhai2023sigmoid`): there every text is a question of
    its own, and a softmax over them is no probability that training ever asked for.
    """
    scale = getattr(network, "logit_scale", None)
    if not isinstance(scale, Tensor) or getattr(network, "logit_bias", None) is not None:
        return None
    return float(scale.detach().exp())


def embedding_of(output: Any) -> Tensor:
    """The one tensor of what a library's encoder gives: itself, or its pooled output."""
    return output if isinstance(output, Tensor) else output.pooler_output
