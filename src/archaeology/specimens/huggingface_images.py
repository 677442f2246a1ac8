"""How a Hugging Face model wants its images: size, crop and normalisation, from its image processor."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from archaeology.specimens.options import Choices, Pair, Triple

UNKNOWN: Triple = (0.5, 0.5, 0.5)


@dataclass(frozen=True)
class Preparation:
    """Size, crop and normalisation of images in [0, 1].

    Attributes:
        image_size: Height and width in pixels.
        mean: Per channel.
        std: Per channel.
        crop_fraction: Share of the shorter side that is kept.
        flips: Whether the model wants blue, green, red.
        source: Where this was read.
    """

    image_size: Pair
    mean: Triple
    std: Triple
    crop_fraction: float
    flips: bool
    source: str


def read_preparation(transformers: Any, name: str, vision: Any, choices: Choices) -> Preparation:
    """What the user says, else the model's image processor, else (the size only) its configuration.

    Args:
        transformers: The library.
        name: Repository or folder.
        vision: Configuration of the vision model.
        choices: What the user says.

    Raises:
        ValueError: If nothing names an image size, or the normalisation that trained weights need.
    """
    processor = _processor(transformers, name)
    crop = _crop(processor)
    image_size = choices.img_size or (crop[0] if crop else native_size(vision))
    if image_size is None:
        raise ValueError(
            f"{choices.spec} must say which size its images have, but neither its configuration nor an image "
            "processor does; add img_size=224 after '?'."
        )
    mean, std = choices.mean, choices.std
    source = "options"
    if mean is None or std is None:
        if not processor and choices.pretrained:
            raise ValueError(
                f"{choices.spec} must say how its images were normalised, but has no readable "
                "preprocessor_config.json; save its image processor beside it, or add "
                "mean=[0.5,0.5,0.5]&std=[0.5,0.5,0.5] (with the right numbers) after '?'."
            )
        mean, std = _normalisation(processor) if processor else (UNKNOWN, UNKNOWN)
        source = str(processor.get("image_processor_type")) if processor else "none, weights are random"
    flips = bool(processor.get("do_flip_channel_order", False))
    return Preparation(image_size, mean, std, crop[1] if crop else 1.0, flips, source)


def native_size(vision: Any) -> Pair | None:
    """Height and width that a configuration names, or None."""
    size = getattr(vision, "image_size", None)
    if size is None:
        return None
    return (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))


def _processor(transformers: Any, name: str) -> Mapping[str, Any]:
    """All entries of the image processor, defaults included; empty where there is none."""
    try:
        return transformers.AutoImageProcessor.from_pretrained(name).to_dict()
    except OSError:  # no preprocessor_config.json
        return {}


def _crop(processor: Mapping[str, Any]) -> tuple[Pair, float] | None:
    """Size of the images that go in, and the share of the shorter side that this is."""
    size = dict(processor.get("size") or {})
    crop = dict(processor.get("crop_size") or {})
    edge = size.get("shortest_edge") or min(size.get("height", 0), size.get("width", 0))
    if processor.get("do_center_crop") and crop:
        height, width = int(crop["height"]), int(crop["width"])
        return (height, width), min(1.0, min(height, width) / edge) if edge else 1.0
    if size.get("height") and size.get("width"):
        return (int(size["height"]), int(size["width"])), 1.0
    if edge:
        # ConvNeXt's convention: below 384 pixels, resize to edge / crop_pct and crop.
        share = processor.get("crop_pct") if edge < 384 else None
        return (int(edge), int(edge)), float(share or 1.0)
    return None


def _normalisation(processor: Mapping[str, Any]) -> tuple[Triple, Triple]:
    """Mean and deviation for images in [0, 1], whatever scale the processor brings them to first."""
    if not processor.get("do_normalize", False):
        mean, std = (0.0,) * 3, (1.0,) * 3
    else:
        mean, std = processor["image_mean"], processor["image_std"]
    scale = 255 * processor.get("rescale_factor", 1 / 255) if processor.get("do_rescale", True) else 255
    # EfficientNet's processor may shift by -1 after scaling, and divides by the deviation a second time.
    shift = 1.0 if processor.get("rescale_offset") else 0.0
    power = 2 if processor.get("include_top") else 1
    red, green, blue = ((float(value) + shift) / scale for value in mean)
    deviations = (float(value) ** power / scale for value in std)
    return (red, green, blue), tuple(deviations)  # pyright: ignore[reportReturnType]
