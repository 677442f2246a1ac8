"""What a layer makes of every image, as rows of numbers: read once, in batches, and kept by content.

A feature set knows which images it is of (by their pixels), so sets of different images are never compared by mistake,
and an image that is there twice is found.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from archaeology.capture.outputs import outputs_kept
from archaeology.capture.record import unit_images
from archaeology.core.halving import in_halves
from archaeology.core.memory import check_room
from archaeology.core.progress import progress
from archaeology.core.seeding import content_names
from archaeology.core.shapes import Image, OtherImages, PixelImage
from archaeology.core.storage import atomic_path, cache_folder, sha256_of
from archaeology.data.decoded import DecodedImages
from archaeology.represent.places import checked_layers, layer_paths
from archaeology.represent.readouts import Tokens, readouts, tokens_of
from archaeology.specimens.specimen import Specimen

FORMAT = 1  # raise it whenever the same model and images would give other features
PIXELS_PER_PASS, MOST_AT_ONCE = 8 * 224 * 224, 128
Images = Image | PixelImage | DecodedImages


@dataclass(frozen=True, eq=False)
class Features:
    """One vector for each image.

    Attributes:
        values: As the model gives them, not normalised.
        ids: Of the images, made from their pixels; the same twice where an image is there twice.
        specimen: Name of the model.
        layer: Module path.
        readout: How tokens became a vector.
    """

    values: Float[np.ndarray, "image feature"]
    ids: tuple[str, ...]
    specimen: str
    layer: str
    readout: str

    def __post_init__(self) -> None:
        if len(self.values) != len(self.ids):
            raise ValueError(
                f"features must have one id for each row, but got {len(self.values)} rows and {len(self.ids)} ids."
            )

    def __len__(self) -> int:
        return len(self.values)

    @property
    def name(self) -> str:
        """Model, layer and readout, for messages and tables."""
        return f"{self.specimen} {self.layer} ({self.readout})"

    @property
    def num_duplicates(self) -> int:
        """How many images are there again."""
        return len(self.ids) - len(set(self.ids))

    def rows(self, which: Int[np.ndarray, " row"]) -> "Features":
        """Some of the images, in the order given."""
        ids = tuple(self.ids[row] for row in which)
        return Features(self.values[which], ids, self.specimen, self.layer, self.readout)


def extract_features(
    specimen: Specimen,
    images: Images,
    *,
    layers: Sequence[str] | None = None,
    readout: str = "mean_patches",
    batch_size: int | None = None,
) -> tuple[Features, ...]:
    """Features of every layer asked for, in one pass over the images.

    Args:
        specimen: Any model.
        images: A tensor, or decoded images on disk.
        layers: Module paths. If None, those of `layer_paths` that have what the readout reads: a stem has no class
            token yet.
        readout: A registered readout.
        batch_size: Images in the model at once; by itself if None. Fewer where memory runs out.

    Returns:
        One feature set, in float32, for each layer, in order.

    Raises:
        UnknownNameError: If there is no such layer or readout; suggests the nearest.
        ValueError: If there is no image, a layer does not run or has not what the readout reads, a feature is not
            finite (names the layer), or the features of so many images and layers do not fit into memory.
    """
    read = readouts.get(readout)
    paths = chosen_layers(specimen, images, layers, readout)
    values: dict[str, np.ndarray] = {}
    ids: list[str] = []

    def run(which: slice) -> tuple[list[str], dict[str, np.ndarray]]:
        batch = images_at(images, np.arange(which.start, which.stop))
        found = layer_tokens(specimen, batch, paths)
        return image_ids(batch), {path: read(found[path]).float().cpu().numpy() for path in paths}

    with progress("reading features", len(images)) as advance:
        for which, (names, rows) in in_halves(run, len(images), batch_size or images_per_pass(specimen)):
            if not values:
                values = _room_for(len(images), rows, specimen.name)
            for path in paths:
                values[path][which] = rows[path]
            ids += names
            advance(len(names))
    for path in paths:
        check_finite(values[path], f"{specimen.name} {path}")
    return tuple(Features(values[path], tuple(ids), specimen.name, path, readout) for path in paths)


def _room_for(count: int, first: Mapping[str, np.ndarray], name: str) -> dict[str, np.ndarray]:
    """An empty array for each layer; `first` has features of a few images."""
    width = sum(rows.shape[1] for rows in first.values())
    check_room(
        4 * count * width,
        f"features of {count:,} images in {len(first)} layers of {name}",
        "take fewer images or fewer layers",
    )
    return {path: np.empty((count, rows.shape[1]), np.float32) for path, rows in first.items()}


def chosen_layers(
    specimen: Specimen, images: Images, layers: Sequence[str] | None, readout: str
) -> tuple[str, ...]:
    """The layers asked for, or all that have what the readout reads, by a look at the first image.

    Raises:
        UnknownNameError: If there is no such layer; suggests the nearest.
        ValueError: If there is no image, no layer, or no layer that the readout can read.
    """
    if len(images) == 0:
        raise ValueError("features need at least one image, but got none.")
    read = readouts.get(readout)
    if layers is not None:
        return checked_layers(specimen, tuple(layers))
    paths = layer_paths(specimen)
    outputs = layer_outputs(specimen, images_at(images, np.arange(1)), paths)
    able: list[str] = []
    reason: ValueError | None = None
    for path in paths:
        try:
            read(tokens_of(specimen, path, outputs[path]))
            able.append(path)
        except ValueError as error:
            reason = error
    if not able and reason is not None:
        raise reason
    return tuple(able)


def images_per_pass(specimen: Specimen) -> int:
    """How many images go through the model at once, with the outputs of all its layers kept."""
    height, width = specimen.image_size
    budget = PIXELS_PER_PASS * (1 if specimen.device.type == "cpu" else 16)
    return max(1, min(MOST_AT_ONCE, budget // (height * width)))


def image_ids(images: Images) -> list[str]:
    """A name for every image made from its pixels, the same for 8 bit and for floats in [0, 1]; few at a time."""
    parts = (np.arange(start, min(start + 64, len(images))) for start in range(0, len(images), 64))
    cpu = torch.device("cpu")
    return [name for rows in parts for name in content_names(unit_images(images_at(images, rows), cpu))]


def cached_features(
    specimen: Specimen,
    images: DecodedImages,
    *,
    layers: Sequence[str] | None = None,
    readout: str = "mean_patches",
    batch_size: int | None = None,
    folder: Path | None = None,
) -> tuple[Features, ...]:
    """As `extract_features`, but what was read before is taken from the disk.

    Kept by content: the model's weights and preparation, the images, the layer, the readout. Only layers that are
    missing are read. A broken file is read as missing.

    Args:
        specimen: Any model.
        images: Decoded images.
        layers: As in `extract_features`.
        readout: Likewise.
        batch_size: Likewise.
        folder: Where to keep them, instead of `$ARCHAEOLOGY_CACHE` or the user's cache folder.
    """
    paths = chosen_layers(specimen, images, layers, readout)
    of_both = sha256_of(str(FORMAT), specimen.fingerprint(), images.fingerprint, repr(images.images.shape))
    base = (folder or cache_folder()) / "features"
    files = {path: base / f"{sha256_of(of_both, path, readout)[:32]}.npz" for path in paths}
    known = {path: _read(file, len(images)) for path, file in files.items()}
    missing = [path for path in paths if known[path] is None]
    made = (
        extract_features(specimen, images, layers=missing, readout=readout, batch_size=batch_size)
        if missing
        else ()
    )
    for features in made:
        with atomic_path(files[features.layer]) as temporary, temporary.open("wb") as file:
            np.savez(file, values=features.values, ids=np.array(features.ids))
    fresh = {features.layer: features for features in made}
    return tuple(
        fresh[path] if kept is None else Features(*kept, specimen.name, path, readout)
        for path, kept in known.items()
    )


def _read(path: Path, count: int) -> tuple[np.ndarray, tuple[str, ...]] | None:
    """Values and ids in a file, or None where there is none or it is broken."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            values, ids = arrays["values"], tuple(str(name) for name in arrays["ids"])
    except (OSError, ValueError, KeyError, EOFError):
        return None
    except Exception as error:  # zipfile's own errors have no common class but this
        if type(error).__name__ not in ("BadZipFile", "error"):
            raise
        return None
    return (values, ids) if values.ndim == 2 and len(values) == len(ids) == count else None


@torch.no_grad()
def layer_outputs(
    specimen: Specimen, images: Image | PixelImage, layers: Sequence[str]
) -> Mapping[str, Tensor]:
    """What every layer asked for returns, by module path.

    Raises:
        ValueError: If a layer does not run, or returns no tensor.
    """
    with outputs_kept(specimen.model, layers) as kept:
        specimen.predict(images)
    silent = [path for path in layers if path not in kept]
    if silent:
        raise ValueError(
            f"every layer must run in a forward pass, but {', '.join(silent)} did not; name another."
        )
    return kept


def layer_tokens(
    specimen: Specimen, images: Image | PixelImage, layers: Sequence[str]
) -> Mapping[str, Tokens]:
    """Tokens of every layer asked for, by module path.

    Raises:
        ValueError: As `layer_outputs`, or if a layer returns neither tokens nor a map.
    """
    outputs = layer_outputs(specimen, images, layers)
    return {path: tokens_of(specimen, path, outputs[path]) for path in layers}


def images_at(images: Images, rows: Int[np.ndarray, " row"]) -> OtherImages:
    """The images in these rows, in this order."""
    if isinstance(images, DecodedImages):
        return torch.from_numpy(np.array(images.images[rows]))
    return images[torch.from_numpy(rows)]


def check_finite(values: Float[np.ndarray, "image feature"], name: str) -> None:
    """Raise unless every feature is a number.

    Raises:
        ValueError: If one is NaN or infinite; says how many images have such.
    """
    bad: Bool[np.ndarray, " image"] = np.asarray(~np.isfinite(values).all(axis=1))
    if bad.any():
        raise ValueError(
            f"features must be finite, but those of {name} are NaN or infinite for {int(bad.sum())} of {len(bad)} "
            f"images (the first is number {int(bad.argmax())}); drop these images or mend the model."
        )


def check_same_images(first: Features, second: Features) -> None:
    """Raise unless two feature sets are of the same images in the same order.

    Raises:
        ValueError: If they are not; says where they part.
    """
    if first.ids == second.ids:
        return
    if len(first) != len(second):
        came = f"{len(first)} and {len(second)} images"
    elif sorted(first.ids) == sorted(second.ids):
        came = "the same images in another order"
    else:
        came = f"{sum(one != other for one, other in zip(first.ids, second.ids, strict=True))} images that differ"
    raise ValueError(
        f"two feature sets must be of the same images in the same order, but {first.name} and {second.name} have "
        f"{came}; extract both from one source."
    )


def concatenated(parts: Iterable[Features]) -> Features:
    """Several feature sets of the same images side by side, as one.

    Raises:
        ValueError: If there is none, or they are of different images.
    """
    sets = list(parts)
    if not sets:
        raise ValueError("concatenated needs at least one feature set, but got none.")
    for other in sets[1:]:
        check_same_images(sets[0], other)
    return Features(
        np.concatenate([part.values for part in sets], axis=1),
        sets[0].ids,
        " + ".join(dict.fromkeys(part.specimen for part in sets)),
        " + ".join(part.layer for part in sets),
        " + ".join(dict.fromkeys(part.readout for part in sets)),
    )


def label_array(labels: Int[Tensor, " label"] | Int[np.ndarray, " label"], features: Features) -> np.ndarray:
    """Labels as an array, checked to go with the features.

    Raises:
        ValueError: If there are more or fewer than images, or an image has none.
    """
    array = labels.cpu().numpy() if isinstance(labels, Tensor) else np.asarray(labels)
    if len(array) != len(features) or len(array) == 0 or int(array.min()) < 0:
        raise ValueError(
            f"labels must be one class (0 or more) for each of {len(features)} images, but got {len(array)}"
            f"{' with negative ones, which mean unlabelled' if len(array) and int(array.min()) < 0 else ''}."
        )
    return array.astype(np.int64)
