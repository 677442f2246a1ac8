"""Augmenting a batch of 256 images of 32 x 32, ours in one go, torchvision's transforms (v2) image by image on tensors.

Both start from decoded pixels on one thread and end with normalised floats; both change every image differently. What
the pipeline may take of a training step is a promise of its own: under 3 % of a step of `vit_cifar10` that keeps two
fifths of the patches, its shortest, forward and backward in float32 on the same thread.
"""

import sys
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torchvision.transforms import v2

from archaeology.data.augment import Augmentation
from archaeology.models.registry import build
from benchmarks._side_by_side import comparison, report, seconds, setting

BATCH, NUM_CLASSES = 256, 10
MEAN, STD = [0.49, 0.48, 0.45], [0.25, 0.24, 0.26]
MOST_OF_A_STEP = 0.03
VIT = {
    "image_size": 32,
    "patch_size": 4,
    "embed_dim": 128,
    "depth": 6,
    "num_heads": 4,
    "num_classes": NUM_CLASSES,
}
CROP = (v2.RandomCrop(32, padding=4, padding_mode="reflect"), v2.RandomHorizontalFlip())
NORMALISE = (v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD))
CASES: dict[str, tuple[Augmentation, tuple[Callable[[Tensor], Tensor], ...], float]] = {
    "crop, flip": (Augmentation(), (), 8.0),
    "crop, flip, TrivialAugment": (Augmentation(policy="trivial"), (v2.TrivialAugmentWide(),), 8.0),
    "crop, flip, RandAugment": (Augmentation(policy="rand"), (v2.RandAugment(),), 8.0),
    "crop, flip, colour": (Augmentation(colour=0.4), (v2.ColorJitter(0.4, 0.4, 0.4),), 5.0),
    "crop, flip, colour and hue": (
        Augmentation(colour=0.4, hue=0.1),
        (v2.ColorJitter(0.4, 0.4, 0.4, 0.1),),
        8.0,
    ),
}


def main() -> None:
    given = setting(__doc__)
    count = 8 if given.small else BATCH
    images = torch.randint(0, 256, (count, 3, 32, 32), dtype=torch.uint8)
    labels = torch.randint(0, NUM_CLASSES, (count,))
    generator = torch.Generator().manual_seed(0)
    rounds = 1 if given.small else 15
    ours_by_case: dict[str, float] = {}
    lines = []
    for case, (augment, transforms, target) in CASES.items():
        together = partial(batched, augment, images, generator)
        one_by_one = partial(looped, v2.Compose([*CROP, *transforms, *NORMALISE]), images)
        ours, theirs = seconds(given, together, one_by_one, rounds=rounds)
        ours_by_case[case] = ours
        lines.append(
            comparison(
                f"{case}, per image",
                "torchvision",
                ours=ours / count * 1e6,
                theirs=theirs / count * 1e6,
                unit="us",
                target=target,
            )
        )
    mixing = Augmentation(mixup=0.8, cutmix=1.0)
    floats = batched(Augmentation(), images, generator)
    both = v2.RandomChoice(
        [v2.MixUp(alpha=0.8, num_classes=NUM_CLASSES), v2.CutMix(alpha=1.0, num_classes=NUM_CLASSES)]
    )
    ours, theirs = seconds(
        given,
        partial(mixing.mix, floats, labels, generator, NUM_CLASSES),
        partial(both, floats, labels),
        rounds=rounds,
    )
    lines.append(
        comparison(
            "Mixup and CutMix, a share for each image (theirs: one for the batch)",
            "torchvision",
            ours=ours / count * 1e6,
            theirs=theirs / count * 1e6,
            unit="us",
            target=None,
        )
    )
    report("augment", given, lines)
    (step,) = seconds(given, training_step(floats, labels), rounds=3)
    shares = {case: ours / (ours + step) for case, ours in ours_by_case.items()}
    print(f"a step of vit_cifar10: {step / count * 1e6:.0f} us an image; of that and its own time,")
    for case, share in shares.items():
        verdict = "holds" if share < MOST_OF_A_STEP else "MISSED"
        print(f"  {case:<28} takes {share:.2%}  target {MOST_OF_A_STEP:.0%}  {verdict}")


def batched(augment: Augmentation, images: Tensor, generator: torch.Generator) -> Tensor:
    """Augmented together and normalised."""
    mean, std = torch.tensor(MEAN)[:, None, None], torch.tensor(STD)[:, None, None]
    return augment(images, generator).float().sub_(255 * mean).div_(255 * std)


def looped(transform: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """Augmented and normalised one by one."""
    return torch.stack([transform(image) for image in images])


def training_step(images: Tensor, labels: Tensor) -> Callable[[], object]:
    """Forward and backward, without the optimizer: the least that a step can cost."""
    model = build("vit", VIT)
    model.patch_keep = 0.4  # as early in the recipe's training, when steps are shortest

    def step() -> None:
        cross_entropy(model(images), labels).backward()

    return step


if __name__ == "__main__":
    sys.exit(main())
