"""Images and captions of `shapes2d` learn to find each other, and then name combinations they have never seen.

`radford2021learning`. Scenes of one shape; six of the 24 pairs of a kind and a colour are left out of the training, one
for every colour. Colours are as the world draws them, of any hue, and named by the nearest of six, so that some lie
between two names. Differs from `image_text_cue_conflict`: hollow and filled must be told apart, and a name is a matter
of degree.
"""

from collections.abc import Iterator
from functools import cache
from itertools import count

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from archaeology.data.words import words_of
from archaeology.data.worlds.pairs import FIRST_TEST_SEED, SHAPES2D_HELD_OUT, SIZE, shapes2d_world
from archaeology.data.worlds.ratio import Ratio
from archaeology.data.worlds.shapes2d_captions import COLOUR_WORDS, hue_number, shape_caption
from archaeology.data.worlds.shapes2d_layout import Scenes2D
from archaeology.data.worlds.shapes2d_rule import KINDS
from archaeology.data.worlds.world import BLOCK
from archaeology.models.image_text import ImageText
from archaeology.recipes.image_text_cue_conflict import PLACES, prepared
from archaeology.recipes.recipe import Promise, StreamRecipe, recipes
from archaeology.training.config import TrainConfig
from archaeology.training.self_supervision import contrastive_loss

NUM_PAIRS = len(KINDS) * len(COLOUR_WORDS)
BATCH_SIZE = 192


@recipes.register("image_text_shapes2d")
def image_text_shapes2d() -> StreamRecipe:
    """CLIP on drawn shapes; colour and kind never seen together are named, chance is 1 in 24."""
    return StreamRecipe(
        architecture="image_text",
        arguments={
            "words": all_words(),
            "max_length": 8,
            "embed_dim": 64,
            "image": {"image_size": SIZE, "patch_size": 8, "embed_dim": 128, "depth": 6, "num_heads": 4},
            "text": {"embed_dim": 64, "depth": 2, "num_heads": 4},
        },
        stream=stream,
        steps=100,
        config=TrainConfig(
            epochs=15,
            batch_size=BATCH_SIZE,
            optimizer="adamw",
            learning_rate=1e-3,
            other_learning_rate=1e-3,
            schedule="cosine",
            warmup=0.1,
            weight_decay=0.05,
        ),
        score=score,
        promise=Promise("named of 24 pairs, pair never seen", 3 / NUM_PAIRS, is_upper=False),
        objective=contrastive_loss,
    )


@cache
def all_words() -> tuple[str, ...]:
    """Every word that a caption may have."""
    return words_of(
        shape_caption(kind, hue, x, y)
        for kind in range(len(KINDS))
        for hue in range(len(COLOUR_WORDS))
        for x, y in PLACES
    )


def stream(
    seed: int, batch_size: int, skipped: int
) -> Iterator[tuple[tuple[Tensor, Int[Tensor, "batch token"]], Tensor]]:
    """Images and captions of pairs that may be seen; what a batch is compared with is the batch itself.

    Raises:
        ValueError: If the seed is one of those that tests are made of.
    """
    if seed + 1 >= FIRST_TEST_SEED:
        raise ValueError(
            f"seed must be below {FIRST_TEST_SEED - 1:,}, whose world tests are made of, got {seed}."
        )
    world = shapes2d_world(seed + 1)
    vocabulary = ImageText(**image_text_shapes2d().arguments).vocabulary
    blocks = -(
        -2 * batch_size // BLOCK
    )  # five scenes in seven may be seen; twice as many as needed are laid out
    for number in count(skipped):
        laid = world.layouts(number * blocks * BLOCK, blocks * BLOCK)
        rows = (~is_held_out(laid)).nonzero()[:batch_size, 0]
        assert len(rows) == batch_size, f"only {len(rows)} of {len(laid)} scenes may be seen"
        scenes = chosen(laid, rows)
        tokens = vocabulary.encode(captions_of(scenes))
        yield (prepared(world.drawn(scenes).input), tokens), rows


def chosen(scenes: Scenes2D, rows: Int[Tensor, " row"]) -> Scenes2D:
    """Some of the scenes, in this order."""
    return Scenes2D(scenes.kind[rows], scenes.centre[rows], scenes.half[rows], scenes.colour[rows])


def is_held_out(scenes: Scenes2D) -> Bool[Tensor, " batch"]:
    """Whose pair of kind and colour is never trained on."""
    kept = torch.tensor([kind for kind, _ in sorted(SHAPES2D_HELD_OUT, key=lambda pair: pair[1])])
    return kept[hue_number(scenes.colour[:, 0])] == scenes.kind[:, 0]


def captions_of(scenes: Scenes2D) -> list[str]:
    """What each scene shows, in words: "a red hollow circle, upper left"."""
    hues = hue_number(scenes.colour[:, 0]).tolist()
    kinds, centres = scenes.kind[:, 0].tolist(), (scenes.centre[:, 0] / SIZE).tolist()
    return [shape_caption(kind, hue, x, y) for kind, hue, (x, y) in zip(kinds, hues, centres, strict=True)]


@torch.no_grad()
def score(model: nn.Module, count: int) -> dict[str, Ratio]:
    """Share of images named rightly by the nearest caption, of pairs seen and never seen in training.

    A name is the mean of the captions with all nine places. Of 24 pairs, of 4 kinds (all colours averaged), of 6
    colours (all kinds averaged).
    """
    assert isinstance(model, ImageText)
    names = pair_features(model)
    found: dict[str, Ratio] = {}
    for words, wants_held_out in (("pair never seen", True), ("pair seen", False)):
        images, kind, hue = examples(count, wants_held_out)
        features = torch.cat(
            [model.encode_images(some.to(names.device)) for some in prepared(images).split(250)]
        )
        cosines = (features @ names.flatten(0, 1).T).cpu()
        by_pair = cosines.unflatten(1, (len(KINDS), len(COLOUR_WORDS)))
        answers = {
            f"named of {NUM_PAIRS} pairs, {words}": cosines.argmax(1) == kind * len(COLOUR_WORDS) + hue,
            f"named of {len(KINDS)} kinds, {words}": by_pair.mean(2).argmax(1) == kind,
            f"named of {len(COLOUR_WORDS)} colours, {words}": by_pair.mean(1).argmax(1) == hue,
        }
        one = torch.ones(len(kind))
        found |= {name: Ratio(right.float(), one) for name, right in answers.items()}
    return found


def pair_features(model: ImageText) -> Float[Tensor, "kind colour embed"]:
    """What each pair of a kind and a colour is called, at length one."""
    texts = [
        shape_caption(kind, hue, x, y)
        for kind in range(len(KINDS))
        for hue in range(len(COLOUR_WORDS))
        for x, y in PLACES
    ]
    means = model.encode_texts(texts).unflatten(0, (len(KINDS), len(COLOUR_WORDS), len(PLACES)))
    return nn.functional.normalize(means.mean(dim=2), dim=-1)


def examples(count: int, wants_held_out: bool) -> tuple[Tensor, Int[Tensor, " batch"], Int[Tensor, " batch"]]:
    """8-bit images of a world nobody trains on, their kinds and colours: of pairs held out, or of the others."""
    world = shapes2d_world(FIRST_TEST_SEED)
    parts: list[Scenes2D] = []
    block = 0
    while sum(map(len, parts)) < count:
        laid = world.layout(block)
        parts.append(chosen(laid, (is_held_out(laid) == wants_held_out).nonzero()[:, 0]))
        block += 1
    scenes = Scenes2D.joined(parts).part(0, count)
    return world.drawn(scenes).input, scenes.kind[:, 0], hue_number(scenes.colour[:, 0])
