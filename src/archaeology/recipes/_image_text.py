"""What contrastive recipes on drawn worlds share: towers, budget, and how a pair of two properties is named.

An image is a pair (shape and texture, or kind and colour), its name the mean of the captions with all nine places.
"""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from archaeology.data.worlds.pairs import FIRST_TEST_SEED, SIZE
from archaeology.data.worlds.ratio import Ratio
from archaeology.models.image_text import ImageText
from archaeology.recipes.recipe import Promise, Score, Stream, StreamRecipe
from archaeology.training.config import TrainConfig
from archaeology.training.self_supervision import contrastive_loss

PLACES = tuple((x, y) for y in (0.25, 0.5, 0.75) for x in (0.25, 0.5, 0.75))
BATCH = 250  # images that are looked at at once when they are named


def contrastive_recipe(
    words: tuple[str, ...], stream: Stream, score: Score, *, batch_size: int, num_pairs: int
) -> StreamRecipe:
    """CLIP in small: two towers, 1,500 steps; it promises three times chance on pairs never seen together."""
    return StreamRecipe(
        architecture="image_text",
        arguments={
            "words": words,
            "max_length": 8,
            "embed_dim": 64,
            "image": {"image_size": SIZE, "patch_size": 8, "embed_dim": 128, "depth": 6, "num_heads": 4},
            "text": {"embed_dim": 64, "depth": 2, "num_heads": 4},
        },
        stream=stream,
        steps=100,
        config=TrainConfig(
            epochs=15,
            batch_size=batch_size,
            optimizer="adamw",
            learning_rate=1e-3,
            other_learning_rate=1e-3,
            schedule="cosine",
            warmup=0.1,
            weight_decay=0.05,
        ),
        score=score,
        promise=Promise(f"named of {num_pairs} pairs, pair never seen", 3 / num_pairs, is_upper=False),
        objective=contrastive_loss,
    )


def seed_of_world(seed: int) -> int:
    """The world that a training with this seed sees.

    Raises:
        ValueError: If it is one of those that tests are made of.
    """
    if seed + 1 >= FIRST_TEST_SEED:
        raise ValueError(
            f"seed must be below {FIRST_TEST_SEED - 1:,}, whose world tests are made of, got {seed}."
        )
    return seed + 1


def prepared(images: Tensor) -> Tensor:
    """8-bit images as the model takes them: -1 to 1."""
    return images.float() / 127.5 - 1


def pair_features(
    model: ImageText, caption: Callable[[int, int, float, float], str], counts: tuple[int, int]
) -> Float[Tensor, "first second embed"]:
    """What each pair of two properties is called, at length one; `caption` takes both and a place."""
    texts = [
        caption(one, other, x, y) for one in range(counts[0]) for other in range(counts[1]) for x, y in PLACES
    ]
    means = model.encode_texts(texts).unflatten(0, (*counts, len(PLACES)))
    return nn.functional.normalize(means.mean(dim=2), dim=-1)


def named_rightly(
    model: ImageText,
    names: Float[Tensor, "first second embed"],
    images: Tensor,
    truth: tuple[Int[Tensor, " image"], Int[Tensor, " image"]],
    called: Sequence[str],
) -> dict[str, Ratio]:
    """Shares of images named rightly by the nearest name: of all pairs, and of either property alone.

    A property alone is named by the mean over the other, so it says what is left where a pair is not found.

    Args:
        model: Whose features they are.
        names: From `pair_features`.
        images: 8 bits.
        truth: Both properties of each image.
        called: Plurals of both, such as "shapes" and "textures".
    """
    features = torch.cat(
        [model.encode_images(some.to(names.device)) for some in prepared(images).split(BATCH)]
    )
    cosines = (features @ names.flatten(0, 1).T).cpu()
    by_pair = cosines.unflatten(1, names.shape[:2])
    counts, (first, second) = names.shape[:2], truth
    right: dict[str, Bool[Tensor, " image"]] = {
        f"named of {counts.numel()} pairs": cosines.argmax(1) == first * counts[1] + second,
        f"named of {counts[0]} {called[0]}": by_pair.mean(2).argmax(1) == first,
        f"named of {counts[1]} {called[1]}": by_pair.mean(1).argmax(1) == second,
    }
    one = torch.ones(len(images))
    return {name: Ratio(which.float(), one) for name, which in right.items()}
