"""Are edited copies found, and are images that are alike by chance left alone? With the ratio of distances and without.

Copies of the first images of each set are edited as files are on their way through the web (saved as JPEG, made
smaller, brighter, noisier) and looked for among the set. What is found among the unedited images of a generated world
is false: no two are copies. With photos it may be a true copy, so it is told apart.

    python -m benchmarks.near_copies --photos parquet:cifar10 test
"""

import argparse
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from archaeology.core.intervals import wilson
from archaeology.data.cache import decode_once
from archaeology.data.chosen import choose_evenly
from archaeology.data.open import open_source
from archaeology.data.worlds.cue_conflict import CueConflict
from archaeology.data.worlds.shapes2d import Shapes2D
from archaeology.failures import duplicates
from archaeology.failures.planted import plant

OUTPUT = Path("build") / "bench" / "near_copies.json"
ALL_ALIKE = float("inf")  # a ratio that leaves none out
Pictures = UInt8[np.ndarray, "image 3 height width"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", nargs=2, action="append", default=[], metavar=("DATA", "SPLIT"))
    parser.add_argument("--images", type=int, default=800, help="of each set")
    parser.add_argument("--edited", type=int, default=200, help="of them, how many are edited")
    parser.add_argument("--seeds", type=int, default=12, help="of the worlds")
    parser.add_argument("--out", type=Path, default=OUTPUT)
    given = parser.parse_args()
    ratio = duplicates.MUCH_NEARER
    rows = []
    for name, seed, images in sets(given.photos, given.images, given.seeds):
        row: dict[str, object] = {"set": name, "seed": seed, "n": len(images)}
        for rule, share in (("without", ALL_ALIKE), ("with", ratio)):
            duplicates.MUCH_NEARER = share
            row[f"alike_{rule}"] = len(duplicates.duplicates_within(images).rows)
            if seed == 0:
                row[f"found_{rule}"] = {
                    edit: found_again(images, given.edited, change) for edit, change in EDITS.items()
                }
        rows.append(row)
        print(row, flush=True)
    print(table(rows))
    given.out.parent.mkdir(parents=True, exist_ok=True)
    arguments = {key: str(value) for key, value in vars(given).items()}
    given.out.write_text(json.dumps({"arguments": arguments, "rows": rows}, indent=1))


def sets(photos: list[list[str]], count: int, seeds: int) -> Iterator[tuple[str, int, Pictures]]:
    """Worlds in several seeds, then photos."""
    for seed in range(seeds):
        shapes = Shapes2D(seed=seed, size=32, num_shapes=(1, 1), radii=(7.0, 12.0)).generate(0, count)
        images, kinds = shapes.input.numpy(), shapes.kind[:, 0].numpy().astype(np.int64)
        yield "one shape", seed, images
        yield (
            "one shape, a bright class",
            seed,
            plant("bright_class", images, kinds, target=1, seed=seed).images,
        )
        several = Shapes2D(seed=seed, size=64, num_shapes=(1, 3), radii=(7.0, 13.0))
        yield "one to three shapes", seed, several.generate(0, count).input.numpy()
        yield (
            "cue_conflict",
            seed,
            CueConflict("random", seed=seed, num_images=count).generate(0, count).images.numpy(),
        )
    for data, split in photos:
        chosen = choose_evenly(open_source(data, split=split), count, seed=0)
        shape = chosen.get(0).image.shape[-2:]
        yield data, 0, np.asarray(decode_once(chosen, (shape[0], shape[1])).images)


def found_again(images: Pictures, count: int, edit: Callable[[Image.Image], Image.Image]) -> float:
    """Share of edited copies that are paired with the image that they were made from."""
    edited = [edit(Image.fromarray(np.moveaxis(image, 0, -1))).convert("RGB") for image in images[:count]]
    asked = np.stack([np.moveaxis(np.asarray(image), -1, 0) for image in edited])
    pairs = duplicates.duplicates_across(asked, images).pairs
    return float((pairs[:, 0] == pairs[:, 1]).sum() / len(asked))


def saved(image: Image.Image, quality: int) -> Image.Image:
    """As a JPEG file."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(file)


def shrunk(image: Image.Image, share: float) -> Image.Image:
    """Made smaller, and as large as before again."""
    small = image.resize((round(image.width * share), round(image.height * share)), Image.Resampling.LANCZOS)
    return small.resize(image.size, Image.Resampling.BICUBIC)


def noisy(image: Image.Image) -> Image.Image:
    """With noise of three grey levels."""
    pixels = np.asarray(image)
    noise = np.random.default_rng(pixels.sum()).normal(0, 3, pixels.shape)
    return Image.fromarray(np.clip(pixels + noise, 0, 255).astype(np.uint8))


EDITS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "JPEG 75": lambda image: saved(image, 75),
    "JPEG 40": lambda image: saved(image, 40),
    "half as large": lambda image: shrunk(image, 0.5),
    "brighter": lambda image: image.point(lambda value: min(255, value + 20)),
    "noise": noisy,
}


def table(rows: list[dict[str, object]]) -> str:
    """By set: how many images are alike to another, and the smallest share of edited copies found again."""
    lines = []
    for name in dict.fromkeys(str(row["set"]) for row in rows):
        own = [row for row in rows if row["set"] == name]
        total = sum(int(str(row["n"])) for row in own)
        for rule in ("without", "with"):
            counts = [int(str(row[f"alike_{rule}"])) for row in own]
            share = wilson(sum(counts), total)
            found = ", ".join(
                f"{edit} {100 * value:.0f}" for edit, value in dict(own[0][f"found_{rule}"]).items()
            )
            lines.append(
                f"{name}, {rule} the ratio: {100 * share.value:.2f} % alike ({100 * share.low:.2f} to "
                f"{100 * share.high:.2f}, n = {total:,}), most {max(counts)} of {own[0]['n']}; found again: {found} %"
            )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
