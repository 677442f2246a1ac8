"""Images whose name has two parts, some pairs of which are kept from training: who names those has understood both.

`cue_conflict_pairs` has a shape and a texture ("striped triangle", 64 pairs, 8 kept back), `shapes2d_pairs` a colour
and a kind of shape ("red hollow circle", 24 pairs, 6 kept back). The recipes that learn from captions never see a pair
that is kept back, so its accuracy is that of naming what was never seen together.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar

import torch
from jaxtyping import Bool, Int, UInt8
from torch import Tensor

from archaeology.core.registry import unknown_name
from archaeology.core.storage import sha256_of
from archaeology.data.registry import image_sources
from archaeology.data.source import Sample
from archaeology.data.worlds.captions import TEXTURE_WORDS
from archaeology.data.worlds.cue_conflict import CueConflict
from archaeology.data.worlds.cue_scenes import SHAPE_NAMES, TEXTURE_NAMES, draw_scenes
from archaeology.data.worlds.shapes2d import Shapes2D
from archaeology.data.worlds.shapes2d_captions import COLOUR_WORDS, hue_number, pair_name
from archaeology.data.worlds.shapes2d_rule import KINDS
from archaeology.data.worlds.world import BLOCK

SIZE = 64  # pixels of a side
FIRST_TEST_SEED = 1_000_000  # seeds of training are smaller
NUM_BLOCKS = 40
SPLITS = ("never_seen", "seen", "all")
CUE_HELD_OUT = tuple((shape, (3 * shape + 1) % len(TEXTURE_NAMES)) for shape in range(len(SHAPE_NAMES)))
SHAPES2D_HELD_OUT = tuple(((hue + 2) % len(KINDS), hue) for hue in range(len(COLOUR_WORDS)))


def shapes2d_world(seed: int) -> Shapes2D:
    """Scenes of one shape each."""
    return Shapes2D(seed=seed, size=SIZE, num_shapes=(1, 1))


@dataclass(frozen=True, eq=False)
class PairSource(ABC):
    """An `ImageSource` of generated scenes whose label is a pair; image i depends on the split and i alone.

    Attributes:
        split: "never_seen" for pairs that recipes keep from training, "seen" for the others, "all" for both.
        num_blocks: Blocks of scenes that are gone through; those of the split are kept.
        name: How the user names it.
        classes: Names of the pairs.
        held_out: Numbers of the pairs kept from training.
    """

    split: str
    num_blocks: int = NUM_BLOCKS
    name: ClassVar[str]
    classes: ClassVar[tuple[str, ...]]
    held_out: ClassVar[frozenset[int]]
    _latest: dict[int, Tensor] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.split not in SPLITS:
            raise unknown_name(f"split of {self.name}", self.split, list(SPLITS))

    @abstractmethod
    def pairs_of(self, block: int) -> Int[Tensor, " scene"]:
        """Number of the pair of every scene of a block, without drawing any."""

    @abstractmethod
    def images_of(self, block: int) -> UInt8[Tensor, "scene 3 height width"]:
        """All scenes of a block."""

    @property
    def fingerprint(self) -> str:
        """Hex sha256 of all that decides what the images are."""
        return sha256_of(self.name, "1", self.split, str(self.num_blocks))

    @cached_property
    def _chosen(self) -> tuple[Int[Tensor, " image"], Int[Tensor, " image"]]:
        """Number of the scene of every image, and its pair."""
        pairs = torch.cat([self.pairs_of(block) for block in range(self.num_blocks)])
        kept = torch.tensor(sorted(self.held_out))
        is_kept: Bool[Tensor, " scene"] = torch.isin(pairs, kept)
        wanted = {"never_seen": is_kept, "seen": ~is_kept, "all": torch.ones_like(is_kept)}[self.split]
        rows = wanted.nonzero()[:, 0]
        return rows, pairs[rows]

    def __len__(self) -> int:
        return len(self._chosen[0])

    def image_id(self, index: int) -> str:
        """Split and number, for example `never_seen-00042`."""
        return f"{self.split}-{self._checked(index):05d}"

    def labels(self) -> list[int | None]:
        """The pairs of all images, without drawing any."""
        return self._chosen[1].tolist()

    def get(self, index: int) -> Sample:
        """Image `index`; its whole block is drawn and kept, so reading in order is fast.

        Raises:
            IndexError: If there is no such image.
        """
        rows, pairs = self._chosen
        block, scene = divmod(int(rows[self._checked(index)]), BLOCK)
        if block not in self._latest:
            self._latest.clear()
            self._latest[block] = self.images_of(block)
        return Sample(self._latest[block][scene], int(pairs[index]))

    def _checked(self, index: int) -> int:
        if not 0 <= index < len(self):
            raise IndexError(f"index must be 0 to {len(self) - 1}, but got {index}.")
        return index


@dataclass(frozen=True, eq=False)
class CuePairs(PairSource):
    """Shape and texture of `cue_conflict`; pair s, t has the number 8 s + t."""

    name = "cue_conflict_pairs"
    classes = tuple(f"{TEXTURE_WORDS[texture]} {shape}" for shape in SHAPE_NAMES for texture in TEXTURE_NAMES)
    held_out = frozenset(shape * len(TEXTURE_NAMES) + texture for shape, texture in CUE_HELD_OUT)

    def pairs_of(self, block: int) -> Int[Tensor, " scene"]:
        """Number of the pair of every scene."""
        scenes = draw_scenes(FIRST_TEST_SEED, "random", block)
        return scenes.shape * len(TEXTURE_NAMES) + scenes.texture

    def images_of(self, block: int) -> UInt8[Tensor, "scene 3 height width"]:
        """All scenes of a block."""
        return CueConflict("random", seed=FIRST_TEST_SEED, size=SIZE).generate(block * BLOCK, BLOCK).images


@dataclass(frozen=True, eq=False)
class Shapes2DPairs(PairSource):
    """Kind and colour of `shapes2d`, one shape in each scene; pair k, h has the number 6 k + h."""

    name = "shapes2d_pairs"
    classes = tuple(pair_name(kind, hue) for kind in range(len(KINDS)) for hue in range(len(COLOUR_WORDS)))
    held_out = frozenset(kind * len(COLOUR_WORDS) + hue for kind, hue in SHAPES2D_HELD_OUT)

    def pairs_of(self, block: int) -> Int[Tensor, " scene"]:
        """Number of the pair of every scene."""
        scenes = shapes2d_world(FIRST_TEST_SEED).layout(block)
        return scenes.kind[:, 0] * len(COLOUR_WORDS) + hue_number(scenes.colour[:, 0])

    def images_of(self, block: int) -> UInt8[Tensor, "scene 3 height width"]:
        """All scenes of a block."""
        return shapes2d_world(FIRST_TEST_SEED).generate(block * BLOCK, BLOCK).input


@image_sources.register("cue_conflict_pairs")
def open_cue_pairs(rest: str, split: str | None) -> CuePairs:
    """Shape and texture to be named together; split `never_seen` (in training, the default), `seen` or `all`."""
    return CuePairs(_alone("cue_conflict_pairs", rest, split))


@image_sources.register("shapes2d_pairs")
def open_shapes2d_pairs(rest: str, split: str | None) -> Shapes2DPairs:
    """Colour and kind to be named together; split `never_seen` (in training, the default), `seen` or `all`."""
    return Shapes2DPairs(_alone("shapes2d_pairs", rest, split))


def _alone(name: str, rest: str, split: str | None) -> str:
    if rest:
        raise ValueError(f"{name} takes nothing behind a colon, but got {rest!r}; choose with --split.")
    return split or "never_seen"
