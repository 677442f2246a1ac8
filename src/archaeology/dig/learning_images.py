"""Images that ways of learning are compared on: some known with their labels, others asked about, none both."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from archaeology.core.errors import BadImageError
from archaeology.core.names import first_few, plural
from archaeology.data.cache import decode_once
from archaeology.data.chosen import ChosenImages, choose_evenly, labelled
from archaeology.data.decoded import DecodedImages, evenly
from archaeology.data.open import open_source
from archaeology.data.source import ImageSource

CORRUPTIONS = ("gaussian_noise", "defocus_blur", "contrast", "jpeg_compression")
LOOKED_AT = 16  # images of each part, to tell whether all have one size


@dataclass(frozen=True)
class Limits:
    """How much is asked; all that is left out is said with the numbers.

    Attributes:
        known: Images whose labels vote.
        probe: Of them, how many a probe learns from.
        asked: Images that are named.
        few: Of them, how many are attacked, corrupted and mixed.
        attention: Of them, how many attention is looked at on; 0 for none.
        neighbours: k.
        shots: Images of each class in few-shot; 0 for none.
        draws: How often they are drawn.
        epsilon: Of the attack, largest change of a pixel in [0, 1]; 0 for no attack.
        steps: Of the attack.
        corruptions: Kinds, at five severities each; none for no corruption.
    """

    known: int = 5000
    probe: int = 2000
    asked: int = 1000
    few: int = 200
    attention: int = 100
    neighbours: int = 20
    shots: int = 10
    draws: int = 10
    epsilon: float = 1 / 255
    steps: int = 10
    corruptions: tuple[str, ...] = CORRUPTIONS


@dataclass(frozen=True, eq=False)
class Images:
    """Images whose labels are known, and others to be asked about; no image is in both.

    Attributes:
        known: With labels that vote.
        asked: To be named.
        num_copies: Known ones that were left out since they are asked about, too.
    """

    known: DecodedImages
    asked: DecodedImages
    num_copies: int = 0


def open_images(
    data: str,
    split: str | None,
    known_split: str | None,
    size: tuple[int, int],
    limits: Limits,
    seed: int,
    *,
    crop_fraction: float = 1.0,
    skip_bad: bool = False,
) -> Images:
    """Known images and others to be asked about, all in one size, chosen before they are decoded; none is in both.

    That is `size`, cropped as models are used to, save where all images have one smaller size: then they stay as they
    are, for each model scales them itself. One part alone, or the same one named twice, is halved.

    Raises:
        ValueError: If there are no labels, fewer than two classes, or fewer known images than neighbours.
    """
    voters, others = _parts(data, split, known_split, seed)
    parts = (
        choose_evenly(labelled(voters), limits.known, seed=seed),
        choose_evenly(labelled(others), limits.asked, seed=seed),
    )
    _check_classes(parts[0].classes, parts[1].classes, data)
    _check(parts[0].labels(), limits, data)  # before anything is decoded
    size, crop_fraction = _as_seen(parts, size, crop_fraction)
    known, asked = (decode_once(part, size, crop_fraction=crop_fraction, skip_bad=skip_bad) for part in parts)
    seen = {image.tobytes() for image in np.asarray(asked.images)}
    apart = [row for row, image in enumerate(np.asarray(known.images)) if image.tobytes() not in seen]
    chosen = Images(known.only(np.array(apart, dtype=np.int64)), asked, len(known) - len(apart))
    _check(chosen.known.labels.tolist(), limits, data, chosen.num_copies)
    return chosen


def notes_of(images: Images, limits: Limits, seed: int, data: str) -> tuple[str, ...]:
    """What was left out of the images, and which of them nobody can name."""
    notes = []
    if images.num_copies:
        left_out = plural(
            images.num_copies, "known image is left out: it is", "known images are left out: they are"
        )
        notes.append(f"of {data} {left_out} also asked about")
    if skipped := len({name for part in (images.known, images.asked) for name, _ in part.skipped}):
        unread = plural(skipped, "image could not be read and was", "images could not be read and were")
        notes.append(f"of {data} {unread} left out")
    labels = images.known.labels
    probed = labels[evenly(labels, limits.probe, seed)]  # as `DecodedImages.take` chooses them
    for how, given in (("known", labels), ("shown to the probe", probed)):
        lost = np.setdiff1d(images.asked.labels, given)
        if len(lost):
            count = int(np.isin(images.asked.labels, lost).sum())
            names = first_few([images.asked.classes[label] for label in lost], of="classes")
            notes.append(
                f"no image of {names} of {data} is {how}, so that the {count} of {len(images.asked)} asked images "
                "of it cannot be named rightly"
            )
            break
    return tuple(notes)


def _parts(
    data: str, split: str | None, known_split: str | None, seed: int
) -> tuple[ImageSource, ImageSource]:
    """Where known images come from, and those asked about."""
    names = {"asked": split or "test", "known": known_split or "train"}
    asked, known = (_source(data, names[role]) for role in ("asked", "known"))
    if asked is not None and known is not None and names["asked"] != names["known"]:
        return known, asked
    if split is not None and known_split is not None:
        for name in (split, known_split):
            open_source(data, split=name)  # says what is wrong
    return _halves(open_source(data, split=split or known_split), seed)


def _check_classes(known: Sequence[str], asked: Sequence[str], data: str) -> None:
    if tuple(known) == tuple(asked):
        return
    apart = [name for name in (*known, *asked) if (name in known) != (name in asked)]
    came = f"only one of them has {first_few(apart)}" if apart else "they come in another order"
    raise ValueError(f"both parts of {data} must have the same classes, but {came}; choose other parts.")


def _check(labels: Sequence[int | None], limits: Limits, data: str, num_copies: int = 0) -> None:
    copies = f" without the {num_copies} that are also asked about" if num_copies else ""
    classes = len(set(labels))
    if classes < 2:
        raise ValueError(
            f"the known images of {data} must be of at least two classes, but are of {classes}{copies}; take data of "
            "more classes, or know more images."
        )
    if len(labels) < limits.neighbours:
        raise ValueError(
            f"there must be at least as many known images as neighbours, but of {data} {len(labels)} are known{copies} "
            f"and {limits.neighbours} neighbours are asked; ask fewer (--neighbours), or know more images (--known, or "
            "a larger part)."
        )


def _source(data: str, split: str) -> ImageSource | None:
    try:
        return open_source(data, split=split)
    except (ValueError, FileNotFoundError):
        return None


def _halves(source: ImageSource, seed: int) -> tuple[ImageSource, ImageSource]:
    """Both have as many of each class as the labelled images allow."""
    whole = labelled(source)
    labels = np.array(whole.labels(), dtype=np.int64)
    if len(labels) < 2:
        raise ValueError(
            f"{source.name} must have at least two labelled images, one to know and one to ask, but has {len(labels)}; "
            "add more."
        )
    first = evenly(labels, len(labels) // 2, seed)
    rest = np.setdiff1d(np.arange(len(labels)), first)
    return ChosenImages(whole, first.tolist()), ChosenImages(whole, rest.tolist())


def _as_seen(
    parts: Sequence[ImageSource], size: tuple[int, int], crop_fraction: float
) -> tuple[tuple[int, int], float]:
    """Their own size, uncropped, where a few images from all over both parts share it and it is smaller."""
    natural = {
        shape
        for part in parts
        for row in np.linspace(0, len(part) - 1, min(LOOKED_AT, len(part))).round()
        if (shape := _shape_of(part, int(row))) is not None
    }
    if len(natural) != 1:
        return size, crop_fraction
    ((height, width),) = natural
    smaller = min(size[0], height), min(size[1], width)
    return (size, crop_fraction) if smaller == size else (smaller, 1.0)


def _shape_of(source: ImageSource, row: int) -> tuple[int, ...] | None:
    """Height and width of an image; None of one that cannot be read, of which decoding will tell."""
    try:
        return tuple(source.get(row).image.shape[-2:])
    except BadImageError:
        return None
