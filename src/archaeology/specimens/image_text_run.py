"""Our own models of images and texts, back from a checkpoint folder: `run:FOLDER` of a recipe image_text_..."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from archaeology.core.storage import read_json, read_tensors
from archaeology.data.worlds.captions import place
from archaeology.models.image_text import ImageText
from archaeology.models.registry import build
from archaeology.specimens.anatomy import transformer_target
from archaeology.specimens.image_text import TwoTowers, image_text_models, no_text
from archaeology.specimens.layout import TokenLayout
from archaeology.specimens.registry import Options
from archaeology.specimens.run import FORMAT, IMAGE_TEXT, check_folder, fill
from archaeology.specimens.specimen import Specimen

HALF = (0.5, 0.5, 0.5)  # recipes show these models images from -1 to 1
WORDINGS = ("a {}", *(f"a {{}}, {place(x, y)}" for y in (0.25, 0.5, 0.75) for x in (0.25, 0.5, 0.75)))


@image_text_models.register("run")
def load_image_text_run(name: str, options: Options) -> TwoTowers:
    """A checkpoint folder that `archaeology train image_text_...` wrote.

    Raises:
        FileNotFoundError: If the folder or a file is missing.
        ValueError: If there are options, the run is of another kind, or the checkpoint is broken.
    """
    if options:
        raise ValueError(f"run:{name} takes no options after '?', but got {', '.join(options)}.")
    folder = Path(name)
    check_folder(folder)
    described: dict[str, Any] = read_json(folder / "config.json")
    if described.get("architecture") != IMAGE_TEXT:
        raise no_text(f"run:{name}", f"it is of the architecture {described.get('architecture')!r}")
    if described.get("format") != FORMAT:
        raise ValueError(
            f"{folder / 'config.json'} must have format {FORMAT}, but has {described.get('format')!r}; "
            "read it with the version of attention-archaeology that wrote it."
        )
    model = build(IMAGE_TEXT, described["arguments"])
    assert isinstance(model, ImageText)
    fill(model, read_tensors(folder / "model.safetensors"), folder / "model.safetensors")
    model.eval()

    def read(texts: Sequence[str]) -> Tensor:
        return model.encode_texts(texts)

    known = set(model.vocabulary.words)
    return TwoTowers(
        specimen=tower_of(model, f"run:{folder}", described),
        whole=model,
        read=read,
        scale=float(model.scale.detach()),
        wordings=tuple(wording for wording in WORDINGS if _words(wording) <= known),
    )


def tower_of(model: ImageText, name: str, described: dict[str, Any]) -> Specimen:
    """The encoder of images as a specimen that gives embeddings."""
    layout = TokenLayout(**model.image.token_layout())  # pyright: ignore[reportArgumentType]
    return Specimen(
        name=name,
        model=model.image,
        kind="transformer",
        classes=(),
        image_size=model.image.image_size,
        mean=HALF,
        std=HALF,
        layout=layout,
        target_layer=transformer_target(model.image),
        facts={
            "architecture": IMAGE_TEXT,
            **described.get("facts", {}),
            "output": "image embedding; there are no classes",
        },
    )


def _words(wording: str) -> set[str]:
    return set(wording.replace("{}", " ").replace(",", " ").split())
