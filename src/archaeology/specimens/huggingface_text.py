"""Hugging Face's models of images and texts (CLIP, SigLIP and their like) with their tokenizers."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from archaeology.specimens.anatomy import kind_of
from archaeology.specimens.huggingface import (
    check_source,
    configuration,
    network_files,
    takes,
    transformers_library,
)
from archaeology.specimens.huggingface_images import native_size, read_preparation
from archaeology.specimens.huggingface_layout import huggingface_layout, huggingface_target
from archaeology.specimens.image_text import (
    TwoTowers,
    embedding_of,
    image_text_models,
    no_text,
    softmax_scale,
)
from archaeology.specimens.module import check_output
from archaeology.specimens.options import Choices
from archaeology.specimens.registry import Options
from archaeology.specimens.specimen import Specimen

PADDED = "siglip"  # families trained on texts that are filled up to their full length begin so
VOCABULARIES = ("tokenizer.json", "vocab.json", "vocab.txt", "spiece.model", "tokenizer.model")


class ImageSide(nn.Module):
    """The images' half of a model of images and texts.

    Attributes:
        network: The whole model.
    """

    def __init__(self, network: nn.Module, arguments: Mapping[str, object], *, flips: bool) -> None:
        """Call `network.get_image_features` with `arguments`; `flips` where it was trained on blue, green, red."""
        super().__init__()
        self.network = network
        self.arguments = dict(arguments)
        self.flips = flips

    def forward(self, images: Tensor) -> Tensor:
        """Embeddings, (batch, features)."""
        images = images.flip(1) if self.flips else images
        network: Any = self.network
        return embedding_of(network.get_image_features(pixel_values=images, **self.arguments))


@image_text_models.register("hf")
def load_huggingface_pair(name: str, options: Options) -> TwoTowers:
    """A model of images and texts of Hugging Face with its tokenizer, from the hub or from a local folder.

    Args:
        name: Repository on the hub, or a folder with `config.json`, the tokenizer's files (and `model.safetensors`).
        options: `pretrained`, `img_size`, `seed`, and any entry of the model's configuration.

    Raises:
        FileNotFoundError: If the folder has no `config.json`.
        ValueError: If the model reads no texts or has no tokenizer, or the options do not fit.
        ConnectionError: If something has to be fetched and cannot be.
        MissingExtraError: If transformers is not installed.
    """
    transformers = transformers_library()
    choices = Choices.read("hf", name, options)
    check_source(name, choices)
    with choices.building(), network_files(name):
        config = configuration(transformers, name, choices)
        if not hasattr(config, "text_config") or not hasattr(config, "vision_config"):
            raise no_text(choices.spec, f"{type(config).__name__} describes one encoder")
        preparation = read_preparation(transformers, name, config.vision_config, choices)
        network = _network(transformers, name, config, choices)
        tokenizer = _tokenizer(transformers, name, choices.spec)
    is_other_size = preparation.image_size != native_size(config.vision_config)
    interpolates = is_other_size and takes(network.vision_model, "interpolate_pos_encoding")
    arguments = {"interpolate_pos_encoding": True} if interpolates else {}
    layout = huggingface_layout(network.vision_model, config.vision_config, preparation.image_size)
    target = huggingface_target(network.vision_model)
    specimen = Specimen(
        name=choices.spec,
        model=ImageSide(network, arguments, flips=preparation.flips).eval(),
        kind=kind_of(network.vision_model),
        classes=(),
        image_size=preparation.image_size,
        mean=preparation.mean,
        std=preparation.std,
        layout=layout,
        crop_fraction=preparation.crop_fraction,
        target_layer=None if target is None else f"network.vision_model.{target}",
        facts={
            "library": f"transformers {transformers.__version__}",
            "architecture": type(network).__name__,
            "weights": choices.weights,
            "preparation": preparation.source,
            "output": "image embedding; there are no classes",
        },
    )
    check_output(specimen)
    padding: dict[str, object] = {"padding": True, "truncation": True}
    if str(config.model_type).startswith(PADDED):
        padding["padding"] = "max_length"
    longest = int(config.text_config.max_position_embeddings)

    def read(texts: Sequence[str]) -> Tensor:
        tokens = tokenizer(list(texts), max_length=longest, return_tensors="pt", **padding)
        device = next(network.parameters()).device
        known = {key: tokens[key].to(device) for key in ("input_ids", "attention_mask") if key in tokens}
        if str(config.model_type).startswith(PADDED):
            known.pop("attention_mask", None)  # trained on full texts, padding included
        return embedding_of(network.get_text_features(**known))

    return TwoTowers(specimen, network, read, scale=softmax_scale(network))


def _network(transformers: Any, name: str, config: Any, choices: Choices) -> Any:
    """The whole model, with all its weights.

    Raises:
        ValueError: If it cannot encode texts, or the files lack some of its weights.
    """
    if choices.pretrained:
        network, loading = transformers.AutoModel.from_pretrained(
            name, config=config, output_loading_info=True
        )
        missing = sorted(loading["missing_keys"])
    else:
        network, missing = transformers.AutoModel.from_config(config), []
    if missing:
        raise ValueError(
            f"{choices.spec} must have all weights of its architecture, but its files lack {', '.join(missing[:5])}; "
            "name a complete checkpoint, or add pretrained=false after '?'."
        )
    if not hasattr(network, "get_text_features") or not hasattr(network, "get_image_features"):
        raise no_text(choices.spec, f"{type(network).__name__} encodes images and texts only together")
    return network.float().eval()


def _tokenizer(transformers: Any, name: str, spec: str) -> Any:
    """The tokenizer that lies beside the model.

    Raises:
        ValueError: If a local folder has none.
    """
    # Asked for the tokenizer of a folder without one, transformers makes one that knows no word.
    if Path(name).is_dir() and not any((Path(name) / file).is_file() for file in VOCABULARIES):
        raise ValueError(
            f"{spec} must have a tokenizer beside its weights, but {name} has none of {', '.join(VOCABULARIES)}; put "
            "its files there."
        )
    return transformers.AutoTokenizer.from_pretrained(name)
