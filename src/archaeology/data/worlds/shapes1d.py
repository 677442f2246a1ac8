"""A world of signals in which each shape must be redrawn at the mean amplitude of its kind.

A signal holds some triangles, rectangles and semicircles, each with an amplitude, a width and a place of its own; the
target is the same signal with every shape at the mean amplitude of the shapes of its kind in that signal. So a shape's
height must come from the others of its kind, wherever they are, and from nothing else: they are its evidence.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from archaeology.core.seeding import torch_generator
from archaeology.core.storage import sha256_of
from archaeology.data.worlds.registry import worlds
from archaeology.data.worlds.rows import Rows
from archaeology.data.worlds.shapes1d_drawing import KINDS, draw_shapes
from archaeology.data.worlds.world import BLOCK, World, check_numbers

VERSION = "shapes1d 1"  # raise it whenever a value of any signal changes
GAP = 2  # samples, at least, between two shapes and between a shape and an end
GRID = 256  # places and widths are multiples of 1 / GRID sample, so that 32 bits hold them exactly
MAX_LENGTH = 2**24 // GRID
STEPS = 2**16  # amplitudes are taken from so many steps
NOISE_STEPS = 1024  # noise is rounded to multiples of its deviation / NOISE_STEPS: the same on every CPU


@dataclass(frozen=True)
class Shapes1DLayout(Rows):
    """All that decides what some signals are; shapes come from left to right.

    Attributes:
        kind: Index into `KINDS`; -1 where there is no such shape.
        span: Start and stop, in samples; 0 where there is no such shape.
        amplitude: Height of the shape at its highest; 0 where there is no such shape.
        noise: What is added to the input; no columns where there is none.
    """

    kind: Int[Tensor, "batch shape"]
    span: Float[Tensor, "batch shape 2"]
    amplitude: Float[Tensor, "batch shape"]
    noise: Float[Tensor, "batch noise"]


@dataclass(frozen=True)
class Shapes1DBatch(Rows):
    """Signals and the truth about them.

    Attributes:
        input: Shapes at their own amplitudes, and noise if there is any.
        target: The same shapes at the mean amplitude of their kind, without noise.
        unit: The same shapes at amplitude 1.
        owner: Shape that has any part of this sample; -1 where none has.
        kind: Index into `KINDS`; -1 where there is no such shape.
        span: Start and stop of the shape, in samples; 0 where there is no such shape.
        amplitude: Of the shape in the input; 0 where there is no such shape.
        mean: Of the amplitudes of the shapes of its kind; 0 where there is no such shape.
        evidence: True where the second shape is of the first one's kind; a shape is evidence for itself.
    """

    input: Float[Tensor, "batch length"]
    target: Float[Tensor, "batch length"]
    unit: Float[Tensor, "batch length"]
    owner: Int[Tensor, "batch length"]
    kind: Int[Tensor, "batch shape"]
    span: Float[Tensor, "batch shape 2"]
    amplitude: Float[Tensor, "batch shape"]
    mean: Float[Tensor, "batch shape"]
    evidence: Bool[Tensor, "batch shape shape"]

    def pair(self) -> tuple[Float[Tensor, "batch length"], Float[Tensor, "batch length"]]:
        """Input and target, as a model is trained on them."""
        return self.input, self.target


@worlds.register("shapes1d")
class Shapes1D(World[Shapes1DLayout, Shapes1DBatch]):
    """Signal i depends on the seed, the options and i, and on nothing else.

    Evaluation uses seed 0, the default; train with other seeds and no training signal is ever judged.
    """

    bite = BLOCK  # a signal is small

    def __init__(
        self,
        *,
        seed: int = 0,
        num_samples: int | None = None,
        length: int = 500,
        num_shapes: tuple[int, int] = (3, 8),
        widths: tuple[float, float] = (20.0, 50.0),
        amplitudes: tuple[float, float] = (0.2, 1.0),
        noise: float = 0.0,
    ) -> None:
        """Decide on a world; nothing is drawn yet.

        Args:
            seed: Another seed, other signals.
            num_samples: How many signals there are; None for no end.
            length: Of a signal, in samples, at most `MAX_LENGTH`.
            num_shapes: Fewest and most shapes in a signal; each number comes equally often.
            widths: Narrowest and widest shape, in samples, at least 1; in steps of 1 / `GRID` sample.
            amplitudes: Lowest and highest shape, above 0.
            noise: Standard deviation of the normal noise on the input.

        Raises:
            ValueError: If a number is impossible or the widest shapes may not fit.
        """
        check_numbers(seed, num_samples)
        _check_options(length, num_shapes, widths, amplitudes, noise)
        self.name, self.seed, self.num_samples, self.length = "shapes1d", seed, num_samples, length
        self.num_shapes, self.widths, self.amplitudes, self.noise = num_shapes, widths, amplitudes, noise
        options = (seed, num_samples, length, *num_shapes, *widths, *amplitudes, noise)
        self.fingerprint = sha256_of(VERSION, *(str(option) for option in options))

    def layout(self, block: int) -> Shapes1DLayout:
        """The numbers of one block of signals; the noise comes last, so signals with and without it are the same."""
        generator = torch_generator(self.seed, self.name, block)
        fewest, most = self.num_shapes

        def integers(low: int, high: int, *shape: int) -> Tensor:
            return torch.randint(low, high + 1, (BLOCK, *shape), generator=generator)

        exists = torch.arange(most) < integers(fewest, most, 1)
        kind = integers(0, len(KINDS) - 1, most).where(exists, -1)
        width = integers(*_grid_widths(self.widths), most) * exists
        low, high = self.amplitudes
        amplitude = (low + (high - low) * (integers(0, STEPS, most).double() / STEPS)) * exists
        start = _starts(width, exists, self.length * GRID, integers(0, STEPS**2 - 1, most)) * exists
        columns = self.length if self.noise else 0
        noise = torch.randn(BLOCK, columns, generator=generator, dtype=torch.float64)
        return Shapes1DLayout(
            kind=kind,
            span=torch.stack([start, start + width], dim=-1).float() / GRID,
            amplitude=amplitude.float(),
            noise=((noise * NOISE_STEPS).round() / NOISE_STEPS * self.noise).float(),
        )

    def drawn(self, layout: Shapes1DLayout) -> Shapes1DBatch:
        """The signals; the means are those of the layout's amplitudes, so a changed layout brings its own truth."""
        unit, owner = draw_shapes(layout.kind, layout.span, self.length)
        evidence = (layout.kind[:, :, None] == layout.kind[:, None]) & (layout.kind >= 0)[:, :, None]
        mean = _group_means(evidence, layout.amplitude)
        own, common = (value.gather(1, owner.clamp(min=0)) for value in (layout.amplitude, mean))
        signal = unit * own
        return Shapes1DBatch(
            input=signal + layout.noise if layout.noise.shape[1] else signal,
            target=unit * common,
            unit=unit,
            owner=owner,
            kind=layout.kind,
            span=layout.span,
            amplitude=layout.amplitude,
            mean=mean,
            evidence=evidence,
        )


def _starts(
    width: Int[Tensor, "batch shape"],
    exists: Bool[Tensor, "batch shape"],
    room: int,
    dice: Int[Tensor, "batch shape"],
) -> Int[Tensor, "batch shape"]:
    """Where the shapes start: gaps first, then the room that is left is cut at random places. In 1 / `GRID` samples.

    Args:
        width: Of each shape; 0 where there is none.
        exists: Where there is a shape; the others come last.
        room: Length of the signal.
        dice: Integers below `STEPS` squared.
    """
    free = room - width.sum(dim=1, keepdim=True) - GAP * GRID * (exists.sum(dim=1, keepdim=True) + 1)
    cut = ((free + 1) * dice // STEPS**2).where(exists, room).sort(dim=1).values
    before = width.cumsum(dim=1) - width
    return cut + before + GAP * GRID * torch.arange(1, width.shape[1] + 1)


def _group_means(
    evidence: Bool[Tensor, "batch shape shape"], amplitude: Float[Tensor, "batch shape"]
) -> Float[Tensor, "batch shape"]:
    """Mean amplitude over each shape's evidence; 0 where there is none."""
    total = torch.zeros_like(amplitude)
    for number in range(amplitude.shape[1]):  # in turn: a sum of tensors may take any order
        total = total + evidence[:, :, number] * amplitude[:, number, None]
    return total / evidence.sum(dim=2).clamp(min=1)


def _grid_widths(widths: tuple[float, float]) -> tuple[int, int]:
    """The widths in units of 1 / `GRID` sample."""
    narrowest = math.ceil(widths[0] * GRID)
    return narrowest, max(narrowest, math.floor(widths[1] * GRID))


def _check_options(
    length: int,
    num_shapes: tuple[int, int],
    widths: tuple[float, float],
    amplitudes: tuple[float, float],
    noise: float,
) -> None:
    for name, value in (("length", length), ("num_shapes", num_shapes[0]), ("num_shapes", num_shapes[1])):
        if not isinstance(value, int):
            raise ValueError(f"{name} must be made of whole numbers, but got {value!r}.")
    if not 1 <= length <= MAX_LENGTH:
        raise ValueError(f"length must be 1 to {MAX_LENGTH} samples, but got {length=}.")
    if not 1 <= num_shapes[0] <= num_shapes[1]:
        raise ValueError(f"num_shapes must be fewest then most, both at least 1, but got {num_shapes=}.")
    if not 1 <= widths[0] <= widths[1] < math.inf:
        raise ValueError(f"widths must be narrowest then widest, both at least 1 sample, but got {widths=}.")
    if not 0 < amplitudes[0] <= amplitudes[1] < math.inf:
        raise ValueError(f"amplitudes must be lowest then highest, both above 0, but got {amplitudes=}.")
    if not 0 <= noise < math.inf:
        raise ValueError(f"noise must be a standard deviation >= 0, but got {noise=}.")
    needed = num_shapes[1] * _grid_widths(widths)[1] / GRID + GAP * (num_shapes[1] + 1)
    if needed > length:
        raise ValueError(
            f"num_shapes of the widest shapes must fit with {GAP} samples around each, which takes {needed:g} samples, "
            f"but got {length=}, {num_shapes=}, {widths=}; take a longer signal, or fewer or narrower shapes."
        )
