"""`archaeology.explore(...)`: look into a model, or into a finished dig, at the end of a notebook's cell."""

from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import UInt8
from torch import Tensor

from archaeology.data.decode import decode_image
from archaeology.data.resize import framed
from archaeology.data.source import Sample
from archaeology.dig.directory import RunDirectory
from archaeology.explorer.embed import MOST_MEGABYTES, ExplorerView, explorer_html
from archaeology.explorer.live import Caption, subjects_of
from archaeology.explorer.maps import on_shared_scales
from archaeology.explorer.subject import Subject
from archaeology.specimens.load import load
from archaeology.specimens.specimen import Specimen

Images = Tensor | Sequence[Path | str]


def explore(
    what: Specimen | str | RunDirectory | Path,
    images: Images | None = None,
    *,
    cnn: Specimen | str | None = None,
    labels: Sequence[str] | None = None,
    methods: Sequence[str] | None = None,
    most_megabytes: float = MOST_MEGABYTES,
) -> ExplorerView:
    """Every layer and head of a model on some images, beside a CNN's maps where one is given.

    Args:
        what: A specimen or its name, to look at `images`; or a finished dig or its folder (a `Path`).
        images: Floats in [0, 1] or 8 bit, a batch or a single one; or image files.
        cnn: A second model, whose maps are shown beside those of the first.
        labels: The true class of each image, by name.
        methods: Whose maps to draw, for both models; those of few passes if None.
        most_megabytes: Of the numbers in the page; images that do not fit whole get the readout's attention only.

    Returns:
        What shows itself in a notebook; `.save("explorer.html")` writes a page that needs nothing else.

    Raises:
        ValueError: If images are missing, or given to a dig, or labels are not one for each.
        UnknownNameError: If there is no such model or method.
    """
    if isinstance(what, Path | RunDirectory):
        if images is not None or cnn is not None or labels is not None or methods is not None:
            raise ValueError(
                "a finished dig has its own images, models and maps; give it alone, or a specimen with images."
            )
        run = RunDirectory(what) if isinstance(what, Path) else what
        title = f"{run.run['models']['vit']['name']} and {run.run['models']['cnn']['name']}"
        return _view(run, title, most_megabytes)
    if images is None:
        raise ValueError(
            "images must be given with a specimen; pass a batch of them, image files, or a finished dig."
        )
    first = load(what) if isinstance(what, str) else what
    second = load(cnn) if isinstance(cnn, str) else cnn
    specimens = {"vit" if first.kind == "transformer" or second is not None else "cnn": first}
    if second is not None:
        specimens["cnn"] = second
    batch, names = batch_of(images, first)
    if labels is not None and len(labels) != len(batch):
        raise ValueError(f"labels must be one for each of {len(batch)} images, but got {len(labels)}.")
    captions = [
        Caption(str(number), name, None if labels is None else labels[number])
        for number, name in enumerate(names)
    ]
    chosen = None if methods is None else {key: tuple(methods) for key in specimens}
    subjects = on_shared_scales(subjects_of(specimens, batch, captions, methods=chosen))
    return _view(subjects, " and ".join(one.name for one in specimens.values()), most_megabytes)


def batch_of(images: Images, specimen: Specimen) -> tuple[Tensor, list[str]]:
    """Images as a batch, with a name for each; files are cut and scaled as the model was trained to see them.

    Raises:
        ValueError: If there is none.
        BadImageError: If a file is no image.
    """
    if isinstance(images, Tensor):
        batch = images[None] if images.ndim == 3 else images
        return batch, [f"image {number}" for number in range(1, len(batch) + 1)]
    paths = [Path(image) for image in images]
    if not paths:
        raise ValueError("images must hold at least one image file, but got none.")
    return torch.stack([framed_for(decode_image(p.read_bytes(), str(p)), specimen) for p in paths]), [
        path.name for path in paths
    ]


def framed_for(pixels: UInt8[Tensor, "channel height width"], specimen: Specimen) -> Tensor:
    """An image (channel, height, width) in the size and cut that a model was trained for."""
    found = framed(Sample(pixels, None), specimen.image_size, specimen.crop_fraction)[0]
    return torch.from_numpy(found.copy())


def _view(what: RunDirectory | Sequence[Subject], title: str, most_megabytes: float) -> ExplorerView:
    document = explorer_html(what, title=title, most_megabytes=most_megabytes, deep_links=False)
    return ExplorerView(document, title)
