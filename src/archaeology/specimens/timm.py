"""Models of timm: what they expect and how their tokens lie is read from their own fields."""

from collections.abc import Sequence
from typing import Any

from torch import nn

from archaeology.specimens.anatomy import (
    attends,
    first_norm,
    kind_of,
    last_block,
    prefix_of,
    transformer_target,
)
from archaeology.specimens.classes import class_names
from archaeology.specimens.fetching import fetching_from_hub
from archaeology.specimens.layout import TokenLayout
from archaeology.specimens.naming import no_such
from archaeology.specimens.options import Choices
from archaeology.specimens.registry import Options, libraries, listings
from archaeology.specimens.specimen import Specimen

# Lists of blocks in which a class token joins late: in all blocks before, the patches are alone.
LATE_CLASS_TOKEN = ("blocks_token_only", "cls_attn_blocks", "post_network")
# Their last stage ends in a map (channel, row, column), which their last block does not have.
ENDS_IN_MAP = ("Nest",)
# Their last map has its channels last, which only a token layout could tell from the first.
CHANNELS_LAST = ("Sequencer2d",)
# Names that are no architecture of timm but say where one is.
ELSEWHERE = ("hf-hub:", "hf_hub:", "local-dir:")


@listings.register("timm")
def timm_names() -> Sequence[str]:
    """All architectures of timm, without pretrained tags."""
    import timm

    return timm.list_models()


@libraries.register("timm")
def load_timm(name: str, options: Options) -> Specimen:
    """A model of timm, with its pretrained weights unless `?pretrained=false`.

    Args:
        name: As for `timm.create_model`, with or without a tag: `vit_base_patch16_224.augreg_in21k`.
        options: `pretrained`, `img_size`, `num_classes`, `seed`, `file` (weights in a local safetensors
            file), and whatever else the architecture takes (`depth`, `global_pool`, ...).

    Raises:
        UnknownNameError: If timm has no such architecture or tag.
        ValueError: If the options do not fit, or there are no pretrained weights.
        ConnectionError: If the weights cannot be fetched.
    """
    choices = Choices.read("timm", name, options)
    model = _create(name, choices)
    config = _config(model)
    image_size = choices.img_size or (config["input_size"][1], config["input_size"][2])
    return Specimen(
        name=choices.spec,
        model=model.eval(),
        kind=kind_of(model),
        classes=class_names(_number(model, "num_classes") or 0, config.get("label_names")),
        image_size=image_size,
        mean=choices.mean or tuple(config["mean"]),
        std=choices.std or tuple(config["std"]),
        layout=timm_layout(model, image_size),
        crop_fraction=float(config.get("crop_pct") or 1.0),
        target_layer=timm_target(model),
        facts=_facts(model, config, choices),
    )


def _create(name: str, choices: Choices) -> nn.Module:
    import timm

    is_fixed_size = True
    if not name.startswith(ELSEWHERE):
        is_fixed_size = _check_published(name, choices)
    arguments = dict(choices.rest)
    if choices.num_classes is not None:
        arguments["num_classes"] = choices.num_classes
    if choices.img_size is not None and is_fixed_size:  # any other model takes images of any size
        arguments["img_size"] = choices.img_size
    if choices.file is not None:
        arguments["pretrained_cfg_overlay"] = {"file": str(choices.file)}
    is_filled = choices.pretrained or choices.file is not None
    if not is_filled or choices.file is not None:
        with choices.building():
            return timm.create_model(name, pretrained=is_filled, **arguments)
    published = timm.get_pretrained_cfg(name)
    source = published.hf_hub_id if published and published.hf_hub_id else f"timm/{name}"
    remedy = (
        f"on a machine with network run `hf download {source}`, bring its model.safetensors here and load "
        f"'timm:{name}?file=PATH/model.safetensors'; random weights come with 'timm:{name}?pretrained=false'."
    )
    with choices.building(), fetching_from_hub(f"The weights of timm:{name}", remedy):
        return timm.create_model(name, pretrained=True, **arguments)


def _check_published(name: str, choices: Choices) -> bool:
    """Check that timm has the model (and weights, where wanted); say whether its image size is fixed."""
    import timm

    architecture, _, tag = name.partition(".")
    if not timm.is_model(architecture):
        raise no_such("timm model", name, timm_names())
    tagged = timm.list_pretrained(f"{architecture}.*")
    if tag and name not in tagged:
        raise no_such("timm model", name, tagged or [architecture])
    if choices.pretrained and choices.file is None and not timm.models.is_model_pretrained(name):
        raise ValueError(
            f"timm has no pretrained weights for {name!r}; load 'timm:{name}?pretrained=false' or "
            "another model."
        )
    config = timm.get_pretrained_cfg(name)
    return config is None or config.fixed_input_size


def _config(model: nn.Module) -> dict[str, Any]:
    config = getattr(model, "pretrained_cfg", {})
    return dict(config)


def _facts(model: nn.Module, config: dict[str, Any], choices: Choices) -> dict[str, object]:
    import timm

    facts: dict[str, object] = {
        "library": f"timm {timm.__version__}",
        "architecture": config.get("architecture"),
        "weights": choices.weights,
    }
    if choices.pretrained:
        facts |= {
            "tag": config.get("tag"),
            "source": config.get("hf_hub_id"),
            "license": config.get("license"),
        }
        if choices.num_classes not in (None, config.get("num_classes")):
            facts["head"] = (
                f"random (asked for {choices.num_classes} classes, trained on {config['num_classes']})"
            )
    if _number(model, "num_classes") == 0:
        facts["output"] = "pooled embedding; the model has no classifier"
    read = _unusual_readout(model)
    return facts | ({"readout": read} if read else {})


def _unusual_readout(model: nn.Module) -> str | None:
    """In words, a readout that is neither the class token nor the mean of the patches."""
    if any(hasattr(model, field) for field in LATE_CLASS_TOKEN):
        return "class token that joins after the last patch layer; maps read it through the layers where it looks"
    if isinstance(getattr(model, "head_dist", None), nn.Module):
        read = "class token" if "distillation" in prefix_of(model) else "mean of the patches"
        return f"mean of the classifier and the distillation head; maps read the {read}"
    pool = getattr(model, "global_pool", None)
    if isinstance(pool, str) and pool not in ("", "token", "avg"):
        return f"{pool} pooling; maps read the mean of the patches"
    return None


def timm_layout(model: nn.Module, image_size: tuple[int, int]) -> TokenLayout | None:
    """Where a timm model's patches lie among its tokens, or None if nothing in it attends."""
    if kind_of(model) != "transformer":
        return None
    reductions = [stage["reduction"] for stage in _stages(model)]
    grid = getattr(getattr(model, "patch_embed", None), "grid_size", None)
    if grid is None or not _is_flat(model, reductions, grid):
        # Rounded up: a stage pads a map that its windows or strides do not divide.
        grid = tuple(-(-size // reductions[-1]) for size in image_size)
    order = "flat" if _is_flat(model, reductions, grid) else "windows"
    if any(hasattr(model, field) for field in LATE_CLASS_TOKEN):
        return TokenLayout(grid[0], grid[1], (), "mean", order)
    prefix = prefix_of(model)
    declared = _number(model, "num_prefix_tokens")
    if declared is not None and declared != len(prefix):  # tokens of a name we do not know: still count them
        prefix = (*prefix, *("register",) * declared)[:declared]
    reads_class = getattr(model, "global_pool", "avg") == "token" and "class" in prefix
    return TokenLayout(grid[0], grid[1], prefix, "class_token" if reads_class else "mean", order)


def _is_flat(model: nn.Module, reductions: list[int], grid: tuple[int, ...]) -> bool:
    """Whether every layer sees the same whole grid: one scale throughout, no window smaller than the grid."""
    windows = [getattr(module, "window_size", None) for module in model.modules()]
    whole = (grid, list(grid), *({grid[0]} if len(set(grid)) == 1 else ()))
    return (
        hasattr(model, "blocks")
        and len(set(reductions)) == 1
        and all(window in whole for window in windows if window)
    )


def timm_target(model: nn.Module) -> str | None:
    """Where Grad-CAM looks: the last map of a CNN, the first norm of a transformer's last block."""
    kind, stages = kind_of(model), _stages(model)
    last = str(stages[-1]["module"]) if stages else ""
    if last not in dict(model.named_modules()):
        return transformer_target(model) if kind == "transformer" else None
    has_channels_last = type(model).__name__ in CHANNELS_LAST or getattr(model, "output_fmt", "") == "NHWC"
    if kind == "other" or (kind == "convolutional" and has_channels_last):
        return None
    if type(model).__name__ in ENDS_IN_MAP or not attends(model.get_submodule(last)):
        return last
    block = last_block(model.get_submodule(last))
    return first_norm(model, last if block is None else f"{last}.{block}")


def _stages(model: nn.Module) -> list[dict[str, Any]]:
    info = getattr(model, "feature_info", None) or []
    return list(getattr(info, "info", info))


def _number(model: nn.Module, field: str) -> int | None:
    value = getattr(model, field, None)
    return value if isinstance(value, int) else None
