"""A training step of our ViT against timm's of the same size, both moved by our `Stepper`, in float32 and bfloat16.

Both start from the same weights, exchanged by name, and first are compared in float64: the same logits, the same
gradients. Then they step in turn with AdamW on the same batch. bfloat16 is autocast around the forward pass, as in
training. Last, what making a batch takes (choose, crop, mirror, normalise) of the step that learns from it; under 3 %
means that the step takes over 32.3 times as long.
"""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import timm
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from archaeology.models.registry import build
from archaeology.models.timm_weights import renamed
from archaeology.recipes.batches import AugmentedBatches
from archaeology.recipes.vit_cifar10 import vit_cifar10
from archaeology.specimens.specimen import Specimen
from archaeology.training.config import TrainConfig
from archaeology.training.optimizers import make_optimizer
from archaeology.training.runtime import Runtime, wrap
from archaeology.training.step import Stepper
from benchmarks._side_by_side import Comparison, Setting, comparison, report, seconds, setting

ALONE = Runtime(torch.device("cpu"))
CONFIG = TrainConfig(optimizer="adamw", learning_rate=1e-4, label_smoothing=0.0)
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
LEAST, LEAST_OF_BFLOAT16, MOST_OF_A_STEP = 1.0, 1.5, 0.03
NAME = "vit_tiny_patch16_224"  # for the names of tensors, which are the same for every size


@dataclass(frozen=True)
class Size:
    """A size of both models, in timm's words, and how many images make a batch."""

    batch: int
    arguments: Mapping[str, Any]


SIZES = {
    "vit_cifar10's size, 32 x 32": Size(
        64,
        {
            "img_size": 32,
            "patch_size": 4,
            "embed_dim": 128,
            "depth": 6,
            "num_heads": 4,
            "mlp_ratio": 2.0,
            "num_classes": 10,
        },
    ),
    "ViT-Ti/16, 224 x 224": Size(
        4,
        {
            "img_size": 224,
            "patch_size": 16,
            "embed_dim": 192,
            "depth": 12,
            "num_heads": 3,
            "mlp_ratio": 4.0,
            "num_classes": 1000,
        },
    ),
}


def main() -> None:
    given = setting(__doc__, threads=1, clock="cpu")
    lines = [line for case, size in SIZES.items() for line in compared(given, case, size)]
    report("training", given, lines + shares(given))


def compared(given: Setting, case: str, size: Size) -> list[Comparison]:
    """Ours against timm's in either precision, and ours in one against the other."""
    count = 2 if given.small else size.batch
    side, classes = size.arguments["img_size"], size.arguments["num_classes"]
    images, labels = torch.randn(count, 3, side, side), torch.randint(0, classes, (count,))
    check_the_same(*pair(size, torch.float64), images[:2].double(), labels[:2])
    sides = [
        partial(stepper(model, dtype), images, labels) for dtype in DTYPES.values() for model in pair(size)
    ]
    taken = [one / count * 1e3 for one in seconds(given, *sides, rounds=1 if given.small else 15)]
    per_image = f"{case}, batch {count}, per image"
    return [
        comparison(f"{per_image}, float32", "timm", ours=taken[0], theirs=taken[1], unit="ms", target=LEAST),
        comparison(f"{per_image}, bfloat16", "timm", ours=taken[2], theirs=taken[3], unit="ms", target=LEAST),
        comparison(
            f"{per_image}, bfloat16 against float32, both ours",
            "torch",
            ours=taken[2],
            theirs=taken[0],
            unit="ms",
            target=LEAST_OF_BFLOAT16,
        ),
    ]


def pair(size: Size, dtype: torch.dtype = torch.float32) -> tuple[nn.Module, nn.Module]:
    """Ours and timm's with the same weights; none is zero, so that every one matters."""
    theirs = timm.create_model(NAME, pretrained=False, **size.arguments).to(dtype)
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    same = {key: value for key, value in size.arguments.items() if key != "img_size"}
    ours = build(
        "vit",
        {
            **same,
            "image_size": size.arguments["img_size"],
            "positions": "learnable",
            "pooling": "class_token",
            "norm_eps": 1e-6,
        },
    )
    ours.to(dtype).load_state_dict(renamed(NAME, theirs.state_dict()))
    return ours.train(), theirs.train()


def check_the_same(ours: nn.Module, theirs: nn.Module, images: Tensor, labels: Tensor) -> None:
    """Logits and gradients, of models and images in float64.

    Raises:
        AssertionError: If they differ.
    """
    said = [model(images) for model in (ours, theirs)]
    torch.testing.assert_close(said[0], said[1], rtol=1e-9, atol=1e-9)
    for logits in said:
        cross_entropy(logits, labels).backward()
    gradients = {key: one.grad for key, one in theirs.named_parameters() if one.grad is not None}
    gradients["pos_embed"][:, :1] = 0  # that of the class token, which ours adds to the token for good
    expected = renamed(NAME, gradients)
    for key, parameter in ours.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[key], rtol=1e-8, atol=1e-10, msg=key)


def stepper(model: nn.Module, dtype: torch.dtype, config: TrainConfig = CONFIG) -> Stepper:
    """What moves `model` by one batch."""
    return Stepper(
        model,
        wrap(model, ALONE, config.parallel),
        make_optimizer(model, config),
        cross_entropy,
        config,
        dtype,
    )


def shares(given: Setting) -> list[Comparison]:
    """Making a batch of the recipe `vit_cifar10` against learning from it, when most patches are dropped and none."""
    recipe = vit_cifar10()
    count = 8 if given.small else recipe.config.batch_size
    config = recipe.config.model_copy(update={"batch_size": count})
    pixels = torch.randint(0, 256, (50_000, 3, 32, 32), dtype=torch.uint8)
    labels = torch.randint(0, 10, (50_000,))
    lines = []
    for dtype_name, kept in (("float32", 1.0), ("float32", 0.4), ("bfloat16", 1.0), ("bfloat16", 0.4)):
        model = build(recipe.architecture, {**recipe.arguments, "num_classes": 10}).train()
        setattr(model, "patch_keep", kept)  # noqa: B010, only some models have it
        classes = tuple("abcdefghij")
        specimen = Specimen("vit", model, "other", classes, (32, 32), recipe.mean, recipe.std)
        made = iter(AugmentedBatches(specimen, pixels, labels, config, ALONE)(0))
        batch = next(made)  # shuffling the epoch comes with its first batch
        step = partial(stepper(model, DTYPES[dtype_name], config), *batch)
        making, learning = seconds(given, drawn_from(made), step, rounds=1 if given.small else 7)
        lines.append(
            comparison(
                f"a batch of {count}, made (ours) and learned from (theirs), {dtype_name}, {kept:.0%} of the patches, "
                f"{making / (making + learning):.2%}",
                "torch",
                ours=making * 1e3,
                theirs=learning * 1e3,
                unit="ms",
                target=1 / MOST_OF_A_STEP - 1,
            )
        )
    return lines


def drawn_from(made: Any) -> Callable[[], object]:
    """Makes the next batch."""
    return lambda: next(made)


if __name__ == "__main__":
    sys.exit(main())
