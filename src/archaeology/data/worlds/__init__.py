"""Synthetic worlds, in which it is known why the right answer is right."""

from archaeology.data.worlds.cue_conflict import CueConflict as CueConflict
from archaeology.data.worlds.ratio import Ratio as Ratio
from archaeology.data.worlds.registry import worlds as worlds
from archaeology.data.worlds.rows import Rows as Rows
from archaeology.data.worlds.shapes1d import Shapes1D as Shapes1D
from archaeology.data.worlds.shapes1d import Shapes1DBatch as Shapes1DBatch
from archaeology.data.worlds.shapes2d import Shapes2D as Shapes2D
from archaeology.data.worlds.shapes2d import Shapes2DBatch as Shapes2DBatch
from archaeology.data.worlds.world import World as World
