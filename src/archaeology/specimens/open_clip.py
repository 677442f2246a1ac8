"""Models of open_clip: its vision towers as specimens, and whole models, whose texts name what images show."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import Tensor, nn

from archaeology.core.errors import MissingExtraError, UnknownNameError
from archaeology.specimens.anatomy import kind_of, prefix_of, transformer_target
from archaeology.specimens.fetching import fetching_from_hub, first_line
from archaeology.specimens.image_text import TwoTowers, image_text_models, softmax_scale
from archaeology.specimens.layout import TokenLayout
from archaeology.specimens.naming import no_such
from archaeology.specimens.options import Choices
from archaeology.specimens.registry import Options, libraries, listings
from archaeology.specimens.specimen import Specimen
from archaeology.specimens.timm import timm_layout, timm_target


@listings.register("open_clip")
def open_clip_names() -> Sequence[str]:
    """All architectures of open_clip, from its files: importing it takes many seconds, too long for a suggestion."""
    found = find_spec("open_clip")
    if found is None or found.origin is None:
        raise MissingExtraError("open_clip", "hub", "Listing open_clip: models")
    return sorted(path.stem for path in (Path(found.origin).parent / "model_configs").glob("*.json"))


@libraries.register("open_clip")
def load_open_clip(name: str, options: Options) -> Specimen:
    """The vision tower of an open_clip model: `open_clip:ViT-B-32/laion2b_s34b_b79k`.

    Args:
        name: Architecture, then the tag of its weights after a slash; no tag with `?pretrained=false`.
        options: `pretrained`, `img_size`, `seed`, `file` (weights of the whole model in a local safetensors
            file).

    Raises:
        UnknownNameError: If open_clip has no such architecture or tag.
        ValueError: If the options do not fit, or no weights are named.
        ConnectionError: If the weights cannot be fetched.
        MissingExtraError: If open_clip is not installed.
    """
    return _loaded(name, options)[1]


@image_text_models.register("open_clip")
def load_open_clip_pair(name: str, options: Options) -> TwoTowers:
    """Both towers of an open_clip model, and its tokenizer.

    Args:
        name: As `load_open_clip`.
        options: Likewise.

    Raises:
        ValueError: As `load_open_clip`.
        ConnectionError: If weights or the tokenizer cannot be fetched; those of CLIP's own kind come with open_clip.
        UnknownNameError: As `load_open_clip`.
        MissingExtraError: Likewise.
    """
    model, specimen = _loaded(name, options)
    open_clip = _library()
    architecture = name.partition("/")[0]
    remedy = "take a model whose tokenizer comes with open_clip, such as ViT-B-32."
    with fetching_from_hub(f"The tokenizer of open_clip:{architecture}", remedy):
        tokenizer = open_clip.get_tokenizer(architecture)

    def read(texts: Sequence[str]) -> Tensor:
        device = next(model.parameters()).device
        return model.encode_text(tokenizer(list(texts)).to(device))

    return TwoTowers(specimen, model, read, scale=softmax_scale(model))


def _loaded(name: str, options: Options) -> tuple[Any, Specimen]:
    """The whole model, and its vision tower as a specimen."""
    open_clip = _library()
    choices = Choices.read("open_clip", name, options)
    if choices.rest or choices.num_classes is not None:
        unknown = ", ".join([*choices.rest, *(["num_classes"] if choices.num_classes is not None else [])])
        raise ValueError(
            f"open_clip: takes pretrained, img_size, seed and file after '?', but got {unknown}."
        )
    architecture, _, tag = name.partition("/")
    if architecture not in open_clip.list_models():
        raise no_such("open_clip model", architecture, open_clip.list_models())
    model = _model(open_clip, architecture, _source(open_clip, architecture, tag, choices), choices)
    tower = _tower(model)
    height, width = (
        tower.image_size if isinstance(tower.image_size, tuple | list) else (tower.image_size,) * 2
    )
    image_size = (int(height), int(width))
    layout, target, readout = _anatomy(tower, image_size)
    return model, Specimen(
        name=choices.spec,
        model=tower.eval(),
        kind=kind_of(tower),
        classes=(),
        image_size=image_size,
        mean=choices.mean or tuple(tower.image_mean),
        std=choices.std or tuple(tower.image_std),
        layout=layout,
        target_layer=target,
        facts={
            "library": f"open_clip {open_clip.__version__}",
            "architecture": architecture,
            "weights": choices.weights,
            "output": "image embedding; there are no classes",
            **({"tag": tag} if tag else {}),
            **({"readout": readout} if readout else {}),
        },
    )


def _library() -> ModuleType:
    try:
        import open_clip
    except ModuleNotFoundError as error:
        raise MissingExtraError("open_clip", "hub", "Loading open_clip: models") from error
    return open_clip


def _source(open_clip: Any, architecture: str, tag: str, choices: Choices) -> str | None:
    """What open_clip has to load: a tag, a file, or None for random weights."""
    if choices.file is not None:
        return str(choices.file)
    tags = open_clip.list_pretrained_tags_by_model(architecture)
    if tag and tag not in tags:
        raise no_such(f"weights of open_clip:{architecture}", tag, tags)
    if not choices.pretrained:
        return None
    if not tag:
        offered = f"'open_clip:{architecture}/{tags[0]}'" if tags else "a model that has some"
        more = f" (or {', '.join(tags[1:5])}{', ...' if len(tags) > 5 else ''})" if len(tags) > 1 else ""
        raise UnknownNameError(
            f"open_clip:{architecture} must name its weights; load {offered}{more}, "
            f"or random ones with 'open_clip:{architecture}?pretrained=false'."
        )
    return tag


def _model(open_clip: Any, architecture: str, source: str | None, choices: Choices) -> Any:
    def create() -> nn.Module:
        # Towers of other libraries would fetch their own weights first, only to have them overwritten.
        return open_clip.create_model(
            architecture,
            source,
            force_image_size=choices.img_size,
            pretrained_image=False,
            pretrained_text=False,
        )

    if source is None or choices.file is not None:
        with choices.building():
            model = create()
    else:
        what = f"The weights of open_clip:{architecture}/{source}"
        remedy = (
            "on a machine with network run `hf download` for its repository, bring the safetensors file here and "
            f"load 'open_clip:{architecture}?file=PATH.safetensors'; random weights come with "
            f"'open_clip:{architecture}?pretrained=false'."
        )
        with choices.building(), fetching_from_hub(what, remedy):
            try:
                model = create()
            except RuntimeError as error:  # open_clip wraps what the hub's client says
                if "download" in str(error).lower():
                    raise OSError(first_line(error)) from error
                raise
    return model.eval()


def _tower(model: nn.Module) -> Any:
    tower: Any = model.get_submodule("visual")
    if getattr(tower, "output_tokens", False):  # CoCa also hands its tokens to the caption writer
        tower.output_tokens = False
    return tower


def _anatomy(
    tower: nn.Module, image_size: tuple[int, int]
) -> tuple[TokenLayout | None, str | None, str | None]:
    """Layout, where Grad-CAM looks, and in words a readout that is neither class token nor mean."""
    trunk = getattr(tower, "trunk", None)
    if isinstance(trunk, nn.Module):
        target = timm_target(trunk)
        return timm_layout(trunk, image_size), f"trunk.{target}" if target else None, None
    grid = getattr(tower, "grid_size", None)
    if grid is None:
        return None, "layer4" if hasattr(tower, "layer4") else None, "attention pooling of the last map"
    prefix = prefix_of(tower)
    has_pool = getattr(tower, "attn_pool", None) is not None
    reads_class = getattr(tower, "pool_type", "tok") == "tok" and not has_pool
    layout = TokenLayout(grid[0], grid[1], prefix, "class_token" if reads_class else "mean")
    readout = "attention pooling; maps read the mean of the patches" if has_pool else None
    return layout, transformer_target(tower), readout
