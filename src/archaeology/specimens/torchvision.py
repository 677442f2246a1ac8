"""Models of torchvision: sizes and normalisation are those of the published weights, also without them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import hub, nn

from archaeology.specimens.anatomy import attends, kind_of, transformer_target
from archaeology.specimens.classes import class_names
from archaeology.specimens.fetching import fetching_from
from archaeology.specimens.layout import TokenLayout
from archaeology.specimens.naming import no_such
from archaeology.specimens.options import Choices
from archaeology.specimens.registry import Options, libraries, listings
from archaeology.specimens.specimen import Specimen

# Where torchvision's CNNs have their last map, by field.
LAST_MAPS = ("layer4", "trunk_output", "Mixed_7c", "inception5b", "conv5", "features", "layers")
# Swin and MaxViT shrink the map to a 32nd.
WINDOW_REDUCTION = 32


@listings.register("torchvision")
def torchvision_names() -> Sequence[str]:
    """All image classifiers of torchvision."""
    from torchvision import models

    return models.list_models(module=models)


@libraries.register("torchvision")
def load_torchvision(name: str, options: Options) -> Specimen:
    """A classifier of torchvision, with its best weights unless `?pretrained=false`.

    Args:
        name: As for `torchvision.models.get_model`.
        options: `pretrained`, `weights` (a name such as IMAGENET1K_V1), `img_size`, `num_classes`, `seed`,
            and whatever else the model takes.

    Raises:
        UnknownNameError: If torchvision has no such classifier or weights.
        ValueError: If the options do not fit.
        ConnectionError: If the weights cannot be fetched.
    """
    choices = Choices.read("torchvision", name, options)
    if name not in torchvision_names():
        raise no_such("torchvision model", name, torchvision_names())
    if choices.file is not None:
        raise ValueError(f"torchvision:{name} takes no file=; put the weights where torch.hub caches them.")
    weights = _weights(name, choices)
    model = _create(name, weights, choices)
    preset = weights.transforms()
    image_size = choices.img_size or (preset.crop_size[0], preset.crop_size[0])
    return Specimen(
        name=choices.spec,
        model=model.eval(),
        kind=kind_of(model),
        classes=class_names(
            choices.num_classes or len(weights.meta["categories"]), weights.meta["categories"]
        ),
        image_size=image_size,
        mean=choices.mean or tuple(preset.mean),
        std=choices.std or tuple(preset.std),
        layout=_layout(model, image_size),
        crop_fraction=preset.crop_size[0] / preset.resize_size[0],
        target_layer=_target(model),
        facts=_facts(name, weights, choices),
    )


def _weights(name: str, choices: Choices) -> Any:
    """The published weights that are wanted; they also say how images have to be prepared."""
    from torchvision import models

    published = models.get_model_weights(name)
    wanted = str(choices.rest.get("weights", "DEFAULT"))
    if wanted not in published.__members__:
        raise no_such(f"weights of torchvision:{name}", wanted, list(published.__members__))
    return published[wanted]


def _create(name: str, weights: Any, choices: Choices) -> nn.Module:
    from torchvision import models

    arguments = {key: value for key, value in choices.rest.items() if key != "weights"}
    if choices.num_classes is not None:
        arguments["num_classes"] = choices.num_classes
    if choices.img_size is not None and name.startswith("vit_"):
        if choices.img_size[0] != choices.img_size[1]:
            raise ValueError(
                f"torchvision's vision transformers take square images, but got img_size={choices.img_size} "
                f"in {choices.spec!r}; take one side, or a model of timm."
            )
        arguments["image_size"] = choices.img_size[0]
    if not choices.pretrained:
        with choices.building():
            return models.get_model(name, weights=None, **arguments)
    cached = Path(hub.get_dir()) / "checkpoints" / Path(weights.url).name
    if cached.is_file():
        with choices.building():
            return models.get_model(name, weights=weights, **arguments)
    remedy = (
        f"on a machine with network download it and put it at {cached}; "
        f"random weights come with 'torchvision:{name}?pretrained=false'."
    )
    with choices.building(), fetching_from(weights.url, f"The weights of torchvision:{name}", remedy):
        return models.get_model(name, weights=weights, **arguments)


def _facts(name: str, weights: Any, choices: Choices) -> dict[str, object]:
    import torchvision

    facts: dict[str, object] = {
        "library": f"torchvision {torchvision.__version__}",
        "architecture": name,
        "weights": choices.weights,
    }
    return facts | ({"tag": weights.name, "source": weights.url} if choices.pretrained else {})


def _layout(model: nn.Module, image_size: tuple[int, int]) -> TokenLayout | None:
    if not attends(model):
        return None
    patch = getattr(model, "patch_size", None)
    if hasattr(model, "class_token") and isinstance(patch, int):
        return TokenLayout(image_size[0] // patch, image_size[1] // patch, ("class",), "class_token")
    rows, columns = (-(-size // WINDOW_REDUCTION) for size in image_size)
    return TokenLayout(rows, columns, (), "mean", "windows")


def _target(model: nn.Module) -> str | None:
    if hasattr(model, "blocks"):  # MaxViT: its blocks end in a map, as a CNN's do
        return f"blocks.{len(model.get_submodule('blocks')) - 1}"  # pyright: ignore[reportArgumentType]
    if attends(model):
        return transformer_target(model)
    return next((field for field in LAST_MAPS if hasattr(model, field)), None)
