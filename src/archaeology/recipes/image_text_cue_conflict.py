"""Images and captions of `cue_conflict` learn to find each other, and then name combinations they have never seen.

`radford2021learning`. Eight of the 64 pairs of a shape and a texture are left out of the training, one for every shape
and one for every texture. Whoever names such a pair has understood that a caption speaks of two things.
"""

from collections.abc import Iterator
from functools import cache
from itertools import count

import torch
from jaxtyping import Int
from torch import Tensor, nn

from archaeology.data.words import words_of
from archaeology.data.worlds.captions import TEXTURE_WORDS, caption
from archaeology.data.worlds.cue_conflict import CueBatch, CueConflict
from archaeology.data.worlds.cue_scenes import SHAPE_NAMES, TEXTURE_NAMES
from archaeology.data.worlds.pairs import CUE_HELD_OUT, FIRST_TEST_SEED, SIZE
from archaeology.data.worlds.ratio import Ratio
from archaeology.data.worlds.world import BLOCK
from archaeology.models.image_text import ImageText
from archaeology.recipes.recipe import Promise, StreamRecipe, recipes
from archaeology.training.config import TrainConfig
from archaeology.training.self_supervision import contrastive_loss

NUM_PAIRS = len(SHAPE_NAMES) * len(TEXTURE_NAMES)
HELD_OUT = CUE_HELD_OUT
PLACES = tuple((x, y) for y in (0.25, 0.5, 0.75) for x in (0.25, 0.5, 0.75))
KEPT = BLOCK * (NUM_PAIRS - len(HELD_OUT)) // NUM_PAIRS  # of a block: every pair comes equally often in each


@recipes.register("image_text_cue_conflict")
def image_text_cue_conflict() -> StreamRecipe:
    """CLIP on drawn scenes, 21 minutes: 26 % of pairs never seen together named among 64 (chance 1.6); seed 0."""
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
            batch_size=KEPT,
            optimizer="adamw",
            learning_rate=1e-3,
            other_learning_rate=1e-3,
            schedule="cosine",
            warmup=0.1,
            weight_decay=0.05,
        ),
        score=score,
        promise=Promise("named of 64 pairs, pair never seen", 3 / NUM_PAIRS, is_upper=False),
        objective=contrastive_loss,
    )


@cache
def all_words() -> tuple[str, ...]:
    """Every word that a caption may have."""
    pairs = [(shape, texture) for shape in SHAPE_NAMES for texture in TEXTURE_WORDS]
    return words_of(caption(shape, texture, x, y) for shape, texture in pairs for x, y in PLACES)


def stream(
    seed: int, batch_size: int, skipped: int
) -> Iterator[tuple[tuple[Tensor, Int[Tensor, "batch token"]], Tensor]]:
    """Images and captions of pairs that may be seen; what a batch is compared with is the batch itself."""
    if seed + 1 >= FIRST_TEST_SEED:
        raise ValueError(
            f"seed must be below {FIRST_TEST_SEED - 1:,}, whose world tests are made of, got {seed}."
        )
    world = CueConflict("random", seed=seed + 1, num_images=2**40, size=SIZE)
    vocabulary = ImageText(**image_text_cue_conflict().arguments).vocabulary
    drawn = BLOCK * -(-batch_size // KEPT)
    for number in count(skipped):
        batch = world.generate(number * drawn, drawn)
        seen = (~is_held_out(batch)).nonzero()[:batch_size, 0]
        captions = batch.captions()
        tokens = vocabulary.encode([captions[row] for row in seen.tolist()])
        yield (prepared(batch.images[seen]), tokens), seen


def is_held_out(batch: CueBatch) -> Tensor:
    """Whose pair of shape and texture is never trained on."""
    wanted = torch.tensor([texture for _, texture in sorted(HELD_OUT)])
    return wanted[batch.shape] == batch.texture


def prepared(images: Tensor) -> Tensor:
    """8-bit images as the model takes them: -1 to 1."""
    return images.float() / 127.5 - 1


@torch.no_grad()
def score(model: nn.Module, count: int) -> dict[str, Ratio]:
    """Share of images named rightly by the nearest caption, of pairs seen and never seen in training.

    A name is the mean of the captions with all nine places. Of 64 pairs, of 8 shapes (all textures averaged), of 8
    textures (all shapes averaged).
    """
    assert isinstance(model, ImageText)
    names = pair_features(model)
    found: dict[str, Ratio] = {}
    for words, wants_held_out in (("pair never seen", True), ("pair seen", False)):
        images, shape, texture = examples(count, wants_held_out)
        features = torch.cat(
            [model.encode_images(some.to(names.device)) for some in prepared(images).split(250)]
        )
        cosines = features @ names.flatten(0, 1).T
        by_pair = cosines.unflatten(1, (len(SHAPE_NAMES), len(TEXTURE_NAMES)))
        answers = {
            f"named of 64 pairs, {words}": cosines.argmax(1).cpu() == shape * len(TEXTURE_NAMES) + texture,
            f"named of 8 shapes, {words}": by_pair.mean(2).argmax(1).cpu() == shape,
            f"named of 8 textures, {words}": by_pair.mean(1).argmax(1).cpu() == texture,
        }
        one = torch.ones(len(shape))
        found |= {name: Ratio(right.float(), one) for name, right in answers.items()}
    return found


def pair_features(model: ImageText) -> Tensor:
    """What each pair of a shape and a texture is called [shape, texture, embed], at length one."""
    texts = [
        caption(shape, texture, x, y) for shape in SHAPE_NAMES for texture in TEXTURE_NAMES for x, y in PLACES
    ]
    means = model.encode_texts(texts).unflatten(0, (len(SHAPE_NAMES), len(TEXTURE_NAMES), len(PLACES)))
    return nn.functional.normalize(means.mean(dim=2), dim=-1)


def examples(count: int, wants_held_out: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Images of a world nobody trains on, their shapes and textures: of pairs held out, or of the others."""
    share = len(HELD_OUT) if wants_held_out else NUM_PAIRS - len(HELD_OUT)
    blocks = -(-count * NUM_PAIRS // (share * BLOCK))
    world = CueConflict("random", seed=FIRST_TEST_SEED, num_images=blocks * BLOCK, size=SIZE)
    batch = world.generate(0, blocks * BLOCK)
    rows = (is_held_out(batch) == wants_held_out).nonzero()[:count, 0]
    return batch.images[rows], batch.shape[rows], batch.texture[rows]
