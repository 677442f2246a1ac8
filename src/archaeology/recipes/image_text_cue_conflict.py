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
from archaeology.recipes._image_text import (
    PLACES,
    contrastive_recipe,
    named_rightly,
    pair_features,
    prepared,
    seed_of_world,
)
from archaeology.recipes.recipe import StreamRecipe, recipes

NUM_PAIRS = len(SHAPE_NAMES) * len(TEXTURE_NAMES)
HELD_OUT = CUE_HELD_OUT
KEPT = BLOCK * (NUM_PAIRS - len(HELD_OUT)) // NUM_PAIRS  # of a block: every pair comes equally often in each


@recipes.register("image_text_cue_conflict")
def image_text_cue_conflict() -> StreamRecipe:
    """CLIP on drawn scenes, 21 minutes: 26 % of pairs never seen together named among 64 (chance 1.6); seed 0."""
    return contrastive_recipe(all_words(), stream, score, batch_size=KEPT, num_pairs=NUM_PAIRS)


@cache
def all_words() -> tuple[str, ...]:
    """Every word that a caption may have."""
    pairs = [(shape, texture) for shape in SHAPE_NAMES for texture in TEXTURE_WORDS]
    return words_of(caption(shape, texture, x, y) for shape, texture in pairs for x, y in PLACES)


def stream(
    seed: int, batch_size: int, skipped: int
) -> Iterator[tuple[tuple[Tensor, Int[Tensor, "batch token"]], Tensor]]:
    """Images and captions of pairs that may be seen; what a batch is compared with is the batch itself.

    Raises:
        ValueError: If the seed is one of those that tests are made of.
    """
    world = CueConflict("random", seed=seed_of_world(seed), num_images=2**40, size=SIZE)
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


@torch.no_grad()
def score(model: nn.Module, count: int) -> dict[str, Ratio]:
    """Share of images named rightly by the nearest caption, of pairs seen and never seen in training.

    A name is the mean of the captions with all nine places. Of 64 pairs, of 8 shapes (all textures averaged), of 8
    textures (all shapes averaged).
    """
    assert isinstance(model, ImageText)
    names = pair_features(model, called, (len(SHAPE_NAMES), len(TEXTURE_NAMES)))
    found: dict[str, Ratio] = {}
    for words, wants_held_out in (("pair never seen", True), ("pair seen", False)):
        images, *truth = examples(count, wants_held_out)
        named = named_rightly(model, names, images, (truth[0], truth[1]), ("shapes", "textures"))
        found |= {f"{name}, {words}": ratio for name, ratio in named.items()}
    return found


def called(shape: int, texture: int, x: float, y: float) -> str:
    """The caption of a shape and a texture by number."""
    return caption(SHAPE_NAMES[shape], TEXTURE_NAMES[texture], x, y)


def examples(count: int, wants_held_out: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Images of a world nobody trains on, their shapes and textures: of pairs held out, or of the others."""
    share = len(HELD_OUT) if wants_held_out else NUM_PAIRS - len(HELD_OUT)
    blocks = -(-count * NUM_PAIRS // (share * BLOCK))
    world = CueConflict("random", seed=FIRST_TEST_SEED, num_images=blocks * BLOCK, size=SIZE)
    batch = world.generate(0, blocks * BLOCK)
    rows = (is_held_out(batch) == wants_held_out).nonzero()[:count, 0]
    return batch.images[rows], batch.shape[rows], batch.texture[rows]
