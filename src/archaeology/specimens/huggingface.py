"""Models of Hugging Face, from the hub or a folder: images in, one tensor of logits (or an embedding) out."""

import inspect
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from archaeology.core.errors import MissingExtraError
from archaeology.core.names import first_few
from archaeology.specimens.anatomy import kind_of, prefix_of
from archaeology.specimens.fetching import fetching_from_hub, first_line
from archaeology.specimens.huggingface_images import native_size, read_preparation
from archaeology.specimens.huggingface_layout import huggingface_layout, huggingface_target, unusual_readout
from archaeology.specimens.layout import TokenLayout
from archaeology.specimens.options import Choices, Pair
from archaeology.specimens.registry import Options, libraries
from archaeology.specimens.specimen import Specimen

CLASSIFIES = ("ForImageClassification", "ForImageClassificationWithTeacher")


class ImageModel(nn.Module):
    """A Hugging Face model that takes images and gives one tensor.

    Attributes:
        network: The model itself.
        output: "logits", or "embedding": the pooled output, else the class token, else the mean of the tokens.
    """

    def __init__(
        self, network: nn.Module, output: str, arguments: Mapping[str, object], *, flips: bool
    ) -> None:
        """Call `network` with `arguments`; `flips` where it was trained on blue, green, red."""
        super().__init__()
        self.network = network
        self.output = output
        self.arguments = dict(arguments)
        self.flips = flips
        self.has_class_token = "class" in prefix_of(network)

    def forward(self, images: Tensor) -> Tensor:
        """Logits or embedding, (batch, classes or features)."""
        images = images.flip(1) if self.flips else images
        return self.read(self.network(pixel_values=images, return_dict=True, **self.arguments))

    def read(self, outputs: Any) -> Tensor:
        """The one tensor among all that the network gives."""
        if self.output == "logits":
            return outputs.logits
        pooled = getattr(outputs, "pooler_output", None)
        if pooled is not None:
            return pooled.flatten(1)
        tokens = outputs.last_hidden_state
        if tokens.ndim == 4:
            return tokens.mean(dim=(2, 3))
        return tokens[:, 0] if self.has_class_token else tokens.mean(dim=1)


@libraries.register("hf")
def load_huggingface(name: str, options: Options) -> Specimen:
    """An image model of Hugging Face, from the hub or from a local folder.

    Args:
        name: Repository on the hub, or a folder with `config.json` (and `model.safetensors`).
        options: `pretrained`, `img_size`, `num_classes`, `seed`, and any entry of the model's configuration.

    Raises:
        FileNotFoundError: If the folder has no `config.json`.
        ValueError: If the options do not fit, or the model takes no images of that size.
        ConnectionError: If something has to be fetched and cannot be.
        MissingExtraError: If transformers is not installed.
    """
    transformers = transformers_library()
    choices = Choices.read("hf", name, options)
    check_source(name, choices)
    with choices.building(), network_files(name):
        config = configuration(transformers, name, choices)
        vision = getattr(config, "vision_config", config)
        preparation = read_preparation(transformers, name, vision, choices)
        network, output = _network_of(transformers, name, config, choices)
    is_other_size = preparation.image_size != native_size(vision)
    interpolates = is_other_size and takes(network, "interpolate_pos_encoding")
    arguments = {"interpolate_pos_encoding": True} if interpolates else {}
    model = ImageModel(network.float(), output, arguments, flips=preparation.flips).eval()
    layout = huggingface_layout(network, vision, preparation.image_size)
    _check_forward(model, layout, preparation.image_size, choices.spec)
    target, readout = huggingface_target(network), unusual_readout(network)
    return Specimen(
        name=choices.spec,
        model=model,
        kind=kind_of(network),
        classes=_classes(config) if output == "logits" else (),
        image_size=preparation.image_size,
        mean=preparation.mean,
        std=preparation.std,
        layout=layout,
        crop_fraction=preparation.crop_fraction,
        target_layer=None if target is None else f"network.{target}",
        facts={
            "library": f"transformers {transformers.__version__}",
            "architecture": type(network).__name__,
            "weights": choices.weights,
            "preparation": preparation.source,
            **({} if output == "logits" else {"output": "pooled embedding; the model has no classifier"}),
            **({} if readout is None else {"readout": readout}),
        },
    )


def check_source(name: str, choices: Choices) -> None:
    """Raise unless the model may be a repository or is a folder that can be read.

    Raises:
        FileNotFoundError: If the folder has no `config.json`.
        ValueError: If a file is named instead.
    """
    if choices.file is not None:
        raise ValueError(f"hf:{name} takes no file=; name a folder with config.json and model.safetensors.")
    if Path(name).is_dir() and not (Path(name) / "config.json").is_file():
        raise FileNotFoundError(
            f"hf: takes a folder with config.json and model.safetensors, but {name} has none."
        )


def transformers_library() -> ModuleType:
    """The library, imported on first use.

    Raises:
        MissingExtraError: If it is not installed.
    """
    try:
        import transformers
    except ModuleNotFoundError as error:
        raise MissingExtraError("transformers", "hub", "Loading hf: models") from error
    return transformers


def network_files(name: str) -> AbstractContextManager[None]:
    """Nothing for a local folder; else the hub may be asked."""
    if Path(name).is_dir():
        return nullcontext()
    return fetching_from_hub(
        f"hf:{name}",
        f"on a machine with network run `hf download {name} --local-dir FOLDER`, bring the folder here and load "
        "'hf:FOLDER'.",
    )


def configuration(transformers: Any, name: str, choices: Choices) -> Any:
    """The configuration, with the user's entries.

    Raises:
        ValueError: If an entry is unknown or the model is of a kind that we cannot lay out.
    """
    changes = dict(choices.rest)
    if choices.num_classes is not None and choices.pretrained:
        raise ValueError(
            f"{choices.spec} takes num_classes only with pretrained=false: trained weights have a head already."
        )
    if choices.num_classes is not None:
        changes["num_labels"] = choices.num_classes
    config, unused = transformers.AutoConfig.from_pretrained(name, return_unused_kwargs=True, **changes)
    if unused:
        raise ValueError(
            f"{choices.spec} takes entries of its configuration after '?', but {type(config).__name__} has no "
            f"{', '.join(unused)}."
        )
    if config.model_type == "timm_wrapper":
        raise ValueError(f"{choices.spec} is a model of timm; load 'timm:hf-hub:{name}'.")
    if config.model_type == "vit_mae":
        raise ValueError(
            f"{choices.spec} must keep its patches in order, but a masked autoencoder shuffles them; load "
            "'timm:vit_base_patch16_224.mae' or its like."
        )
    return config


def _network_of(transformers: Any, name: str, config: Any, choices: Choices) -> tuple[nn.Module, str]:
    """The model and what it gives, "logits" or "embedding".

    Raises:
        ValueError: If it takes no images, or the files lack some of its weights.
    """
    trained_as = getattr(config, "architectures", None) or []
    is_classifier = any(architecture.endswith(CLASSIFIES) for architecture in trained_as)
    auto = transformers.AutoModelForImageClassification if is_classifier else transformers.AutoModel
    if choices.pretrained:
        network, loading = auto.from_pretrained(name, config=config, output_loading_info=True)
        missing = sorted(loading["missing_keys"])
    else:
        network, missing = auto.from_config(config), []
    if not is_classifier:
        network = getattr(network, "vision_model", network)  # of a model with a second tower for words
        if any("pooler." in key for key in missing) and hasattr(network, "pooler"):
            network.pooler = None  # never trained; the class token is read instead
            missing = [key for key in missing if "pooler." not in key]
    if missing:
        shown = first_few(missing)
        raise ValueError(
            f"{choices.spec} must have all weights of its architecture, but its files lack {shown}; name a complete "
            "checkpoint, or add pretrained=false after '?'."
        )
    if network.main_input_name != "pixel_values":
        raise ValueError(
            f"{choices.spec} must take images, but {type(network).__name__} takes {network.main_input_name}."
        )
    return network, "logits" if is_classifier else "embedding"


def _check_forward(model: ImageModel, layout: TokenLayout | None, image_size: Pair, spec: str) -> None:
    """Run one blank image: the model must take its size, and have the tokens that the layout declares.

    Raises:
        ValueError: If it does not.
    """
    blank = torch.zeros(1, 3, *image_size)
    try:
        with torch.no_grad():
            outputs = model.network(
                pixel_values=blank, return_dict=True, output_hidden_states=True, **model.arguments
            )
    except (ValueError, RuntimeError) as error:
        raise ValueError(
            f"{spec} cannot take images of {image_size[0]} x {image_size[1]} pixels ({first_line(error)}); "
            "choose the size of its configuration, or a model that interpolates its positions."
        ) from error
    seen = getattr(outputs, "hidden_states", None)
    if layout is not None and layout.order == "flat" and seen and seen[-1].ndim == 3:
        layout.check(seen[-1].shape[1], f"{type(model.network).__name__} at {image_size} pixels")
    if model.read(outputs).ndim != 2:
        raise ValueError(f"{spec} must give (batch, features), but gives {tuple(model.read(outputs).shape)}.")


def _classes(config: Any) -> tuple[str, ...]:
    return tuple(str(config.id2label[index]) for index in range(config.num_labels))


def takes(network: nn.Module, argument: str) -> bool:
    """Whether the forward pass has an argument of that name."""
    return argument in inspect.signature(network.forward).parameters
