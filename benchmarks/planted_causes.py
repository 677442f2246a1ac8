"""Is a planted cause of failure found, and named first? And is nothing claimed where nothing was planted?

For every seed and every fault (one class is always bright, one class has a watermark, five labels of a hundred are
wrong, nothing) a small CNN is trained for a few epochs on images with the fault, then `find_causes` looks at test
images with the same fault. A line of the table is right where the first cause named is the one planted (of the right
class), or where none is named and none was planted. Another seed is another choice of images, of the class and of
weights.

    python -m benchmarks.planted_causes --data parquet:cifar10 --seeds 3
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from archaeology.core.intervals import wilson
from archaeology.core.seeding import torch_generator
from archaeology.data.cache import decode_once
from archaeology.data.chosen import choose_evenly
from archaeology.data.decoded import DecodedImages
from archaeology.data.open import open_source
from archaeology.failures.causes import Cause, find_causes
from archaeology.failures.planted import plant, plants
from archaeology.models import ConvNet
from archaeology.training.config import TrainConfig
from archaeology.training.loop import train

OUTPUT = Path("build") / "bench" / "planted_causes.json"
MEAN, STD = 0.5, 0.25


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="cue_conflict", help="images with a train and a test split")
    parser.add_argument("--size", type=int, default=32, help="pixels of a side")
    parser.add_argument("--images", type=int, default=10_000, help="to train on")
    parser.add_argument("--test-images", type=int, default=1000)
    parser.add_argument("--epochs", type=float, default=5)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--plant", nargs="+", default=list(plants), choices=list(plants))
    parser.add_argument("--out", type=Path, default=OUTPUT)
    given = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for seed in range(given.first_seed, given.first_seed + given.seeds):
        training, test = loaded(given.data, given.size, given.images, given.test_images, seed)
        for name in given.plant:
            rows.append(tried(name, training, test, given.epochs, seed))
            print(line(rows[-1]), flush=True)
    for name in given.plant:
        hits = [row["is_right"] for row in rows if row["planted"] == name]
        share = wilson(sum(hits), len(hits))
        said = "none claimed" if name == "nothing" else "named first"
        print(f"{name}: {said} in {sum(hits)} of {len(hits)} ({share.low:.2f} to {share.high:.2f})")
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(
        json.dumps({"arguments": {k: str(v) for k, v in vars(given).items()}, "rows": rows}, indent=1)
    )


def loaded(data: str, size: int, images: int, tested: int, seed: int) -> tuple[DecodedImages, DecodedImages]:
    """Training and test images; those of cue_conflict have texture and shape of one class."""
    splits = ("aligned", "aligned") if data == "cue_conflict" else ("train", "test")
    parts = []
    for split, count, purpose in zip(splits, (images, tested), (1, 0), strict=True):
        if data == "cue_conflict":
            from archaeology.data.worlds.cue_conflict import CueConflict

            source = CueConflict("aligned", seed=2 * seed + purpose, num_images=count, size=size)
        else:
            source = choose_evenly(open_source(data, split=split), count, seed=seed)
        parts.append(decode_once(source, (size, size)))
    return parts[0], parts[1]


def tried(
    name: str, training: DecodedImages, test: DecodedImages, epochs: float, seed: int
) -> dict[str, object]:
    """One fault planted in both, a model trained, causes asked for."""
    started, target = time.monotonic(), seed % len(training.classes)
    with_fault = [planted(one, name, target, 2 * seed + place) for place, one in enumerate((training, test))]
    predict = trained(with_fault[0], epochs, seed)
    ready = time.monotonic()
    causes = find_causes(with_fault[1], {"cnn": predict}, seed=seed)
    done = time.monotonic()
    return {
        "planted": name,
        "seed": seed,
        "target": training.classes[target],
        "accuracy": accuracy(predict, with_fault[1]),
        "is_right": is_right(name, training.classes[target], causes.named),
        "named": [one.title for one in causes.named],
        "effects": [round(one.effect.value, 4) for one in causes.named],
        "texts": [one.text for one in causes.named],
        "label_errors_p": causes.label_errors.p_value,
        "label_errors": causes.label_errors.share.value,
        "num_questions": causes.num_questions,
        "seconds_training": round(ready - started, 1),
        "seconds_asking": round(done - ready, 1),
    }


def is_right(planted_name: str, target: str, named: tuple[Cause, ...]) -> bool:
    """Whether the first cause named is the planted one, or none is where nothing was planted."""
    if planted_name == "nothing" or not named:
        return (planted_name == "nothing") == (not named)
    first = named[0]
    return {
        "bright_class": (first.kind, first.what, first.target) == ("shortcut", "brightness", target),
        "watermark": (first.kind, first.what, first.target) == ("shortcut", "place", target),
        "wrong_labels": first.kind == "label errors",
    }[planted_name]


def planted(images: DecodedImages, name: str, target: int, seed: int) -> DecodedImages:
    """The images with a fault."""
    made = plant(
        name,
        np.array(images.images),
        images.labels,
        target=target,
        num_classes=len(images.classes),
        seed=seed,
    )
    return replace(images, images=made.images, labels=made.labels)


def trained(images: DecodedImages, epochs: float, seed: int) -> Callable[[Tensor], Tensor]:
    """A small CNN, trained; it takes images in [0, 1]."""
    torch.manual_seed(seed)
    model = ConvNet(images.images.shape[-1], len(images.classes), widths=(32, 64, 64))
    pixels, labels = (
        torch.from_numpy(np.array(images.images)),
        torch.from_numpy(images.labels.astype(np.int64)),
    )
    config = TrainConfig(epochs=epochs, batch_size=128, device="cpu", threads=1, seed=seed)

    def batches(epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        generator = torch_generator(seed, "epoch", epoch)
        order = torch.randperm(len(labels), generator=generator)
        for start in range(0, len(order) - config.batch_size + 1, config.batch_size):
            rows = order[start : start + config.batch_size]
            yield (pixels[rows].float() / 255 - MEAN) / STD, labels[rows]

    train(model, batches, len(labels) // config.batch_size, config)
    return predictor(model)


def predictor(model: nn.Module) -> Callable[[Tensor], Tensor]:
    """Images in [0, 1] to logits."""
    model.eval()
    return lambda images: model((images - MEAN) / STD)


def accuracy(predict: Callable[[Tensor], Tensor], images: DecodedImages) -> float:
    """Share of images right."""
    with torch.no_grad():
        hits = [
            (predict(batch.float() / 255).argmax(1) == labels) for batch, labels, _ in images.batches(250)
        ]
    return float(torch.cat(hits).float().mean())


def line(row: dict[str, object]) -> str:
    """One line of the table."""
    mark = "right" if row["is_right"] else "WRONG"
    return (
        f"{row['planted']:13} seed {row['seed']}  {mark}  accuracy {row['accuracy']:.3f}  "
        f"{row['seconds_training']} s + {row['seconds_asking']} s  "
        f"p(labels) {row['label_errors_p']:.1e}  {row['named']} {row['effects']}"
    )


if __name__ == "__main__":
    main()
