"""Cut the picture into windows that attend to themselves, and in every other layer cut elsewhere, so that news spreads.

`liu2021swin`, section 3.2: windows of a grid, shifted by half a window or not at all, and a learned bias for every
difference of rows and columns. Differs: what must not be seen is forbidden, where the authors' code and others'
subtract 100, which leaks where a score is that much higher; and a grid need not be a multiple of the window, because
places beyond its edge are masked too, instead of taking weight as if they were black patches.
"""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from archaeology.attention.biases import Bias, Sum, looked_up
from archaeology.attention.kernels.windows import attend_in_windows
from archaeology.attention.masks import Mask, Padding
from archaeology.attention.mechanism import Facts, LayerShape, mechanisms
from archaeology.attention.relative_bias import grid_entry
from archaeology.attention.softmax import Softmax, posed

Index = Int[Tensor, "..."]
Grid = tuple[int, int]


class SameWindow(Mask):
    """Keys in the window of the query. Windows start at `shift`; what is cut off before it is a window of its own."""

    def __init__(self, grid: Grid, window: Grid, shift: Grid) -> None:
        """Everything in rows and columns."""
        self.grid, self.window, self.shift = grid, window, shift

    def allows(self, batch: Index, head: Index, query: Index, key: Index) -> Bool[Tensor, "..."]:
        """Whether both lie in one window."""
        (up, left), (down, right) = (self._window_of(place) for place in (query, key))
        return (up == down) & (left == right)

    def _window_of(self, place: Index) -> tuple[Index, Index]:
        columns = self.grid[1]
        cell = place.div(columns, rounding_mode="floor"), place % columns
        row, column = (
            (index - start).div(size, rounding_mode="floor")
            for index, start, size in zip(cell, self.shift, self.window, strict=True)
        )
        return row, column


class WindowBias:
    """A learned number for each head and each difference of rows and columns within a window."""

    def __init__(self, table: Float[Tensor, "head entry"], grid: Grid, window: int) -> None:
        """`table` has an entry for each of `(2 window - 1)^2` differences."""
        self.table, self.grid, self.window = table, grid, window

    def scores(self, batch: Index, head: Index, query: Index, key: Index) -> Float[Tensor, "..."]:
        """The number of each pair; those of other windows, which a mask forbids, get that of the farthest."""
        columns, most = self.grid[1], self.window - 1
        down = query.div(columns, rounding_mode="floor") - key.div(columns, rounding_mode="floor")
        right = query % columns - key % columns
        entry = grid_entry(down.clamp(-most, most), right.clamp(-most, most), (self.window, self.window))
        return looked_up(self.table, head, entry)


@mechanisms.register("shifted_window")
class ShiftedWindow(Softmax):
    """Exact attention within windows of a grid. Other masks than padding, and biases, cost the whole matrix."""

    supports = frozenset({"causal", "padding", "mask", "bias", "grouped"})
    facts = Facts(
        title="Shifted windows",
        formula="softmax(QK^T / sqrt(d) + B where in the same window) V",
        time="N w^2 d",
        memory="N w^2",
        relation="sparse",
        source="liu2021swin",
    )
    slots: Tensor
    places: Tensor
    beyond: Tensor
    apart: Tensor

    def __init__(
        self,
        num_heads: int,
        grid: Grid,
        *,
        window: int = 7,
        shift: int | None = None,
        scale: float | None = None,
        dropout: float = 0.0,
        kernel: str = "auto",
    ) -> None:
        """Build with a fresh bias.

        Args:
            num_heads: Heads.
            grid: Rows and columns of the tokens.
            window: Rows and columns of a window.
            shift: Where the first whole window starts, in rows and in columns; half a window if None. It is 0 along
                an axis that one window covers.
            scale: As in `Softmax`, likewise `dropout` and `kernel`; "auto" computes windows, all others everything.
            dropout: Share of weights dropped in training.
            kernel: Which kernel to use.

        Raises:
            ValueError: If sizes are not positive or the shift is not within a window.
        """
        super().__init__(scale=scale, dropout=dropout, kernel=kernel)
        shift = window // 2 if shift is None else shift
        if num_heads < 1 or min(grid) < 1 or window < 1 or not 0 <= shift < window:
            raise ValueError(
                "shifted windows need heads, a grid that is not empty and 0 <= shift < window, but got "
                f"{num_heads=}, {grid=}, {window=}, {shift=}."
            )
        self.grid, self.window = grid, window
        self.extent = (min(window, grid[0]), min(window, grid[1]))
        self.shift = (shift if window < grid[0] else 0, shift if window < grid[1] else 0)
        self.table = nn.Parameter(
            nn.init.trunc_normal_(torch.empty(num_heads, (2 * window - 1) ** 2), std=0.02)
        )
        for name, tensor in self._plan().items():
            self.register_buffer(name, tensor, persistent=False)
        self.has_edges, self.is_cut = bool(self.beyond.any()), bool(self.apart.any())

    @classmethod
    def build(cls, shape: LayerShape, **options: Any) -> "ShiftedWindow":
        """For the grid of the layer.

        Raises:
            ValueError: If the layer has none, or tokens before it.
        """
        if shape.grid is None or shape.num_prefix:
            raise ValueError(
                "shifted windows are for a grid without prefix tokens, but got "
                f"grid={shape.grid}, num_prefix={shape.num_prefix}; pool by the mean, without registers."
            )
        return cls(shape.num_heads, shape.grid, **options)

    def _plan(self) -> dict[str, Tensor]:
        """Where each token goes: window after window, the grid rolled by the shift as if it were a torus."""
        (rows, columns), (high, wide) = self.grid, self.extent
        count = (-(-rows // high), -(-columns // wide))  # windows
        axes = [
            (torch.arange(windows * size) + start).remainder(windows * size).view(windows, size)
            for windows, size, start in zip(count, self.extent, self.shift, strict=True)
        ]
        row, column = (
            axis.expand(count[0], count[1], high, wide).reshape(-1, high * wide)
            for axis in (axes[0][:, None, :, None], axes[1][None, :, None, :])
        )
        beyond = (row >= rows) | (column >= columns)
        slots = (row * columns + column).masked_fill(beyond, 0)
        places = torch.zeros(rows * columns, dtype=torch.long)
        places[slots[~beyond]] = torch.arange(slots.numel()).view_as(slots)[~beyond]
        none = torch.zeros(1, dtype=torch.long)
        together = self.structure(rows * columns, slots.device).allows(
            none, none, slots[:, :, None], slots[:, None]
        )
        return {
            "slots": slots.flatten(),  # the token in each place of each window; the first one where there is none
            "places": places,  # the place of each token
            "beyond": beyond.flatten(),  # places without a token
            "apart": ~(together | beyond[:, :, None])
            | beyond[:, None],  # pairs that must not attend, never a row
        }

    def structure(self, num_tokens: int, device: torch.device) -> Mask:
        """The windows."""
        return SameWindow(self.grid, self.extent, self.shift)

    def check(
        self, query: Tensor, key: Tensor, mask: Mask | None, bias: Bias | None, query_offset: int
    ) -> None:
        """As for all mechanisms, and heads and tokens must be those of the table and of the grid."""
        super().check(query, key, mask, bias, query_offset)
        rows, columns = self.grid
        if query.shape[2] not in (0, rows * columns) or query.shape[1] != len(self.table):
            raise ValueError(
                f"these windows are for {len(self.table)} heads on a {rows} x {columns} grid of {rows * columns} "
                f"tokens, but got {query.shape[1]} heads and {query.shape[2]} tokens."
            )

    def mix(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        *,
        mask: Mask | None,
        bias: Bias | None,
        query_offset: int,
    ) -> Tensor:
        """Attend in windows, or everywhere with all but windows masked where the caller asks for more than padding."""
        terms = () if mask is None else mask.terms()
        paddings = [term for term in terms if isinstance(term, Padding)]
        if self.kernel != "auto" or bias is not None or len(paddings) < len(terms):
            bias = self.joint_bias(bias)
            return super().mix(query, key, value, mask=mask, bias=bias, query_offset=query_offset)
        problem = posed(query, key, value, mask, None, self.scale).with_repeated_keys()
        addend = self.addend().to(query.dtype)
        dropout = self.dropout if self.training else 0.0
        if query.device.type == "cpu" and not paddings and not dropout:
            places = {
                "slots": self.slots,
                "places": self.places,
                "beyond": self.beyond if self.has_edges else None,
            }
            return attend_in_windows(query, problem.key, problem.value, addend, **places, scale=problem.scale)
        for term in paddings:
            hidden = ~term.valid[:, self.slots].unflatten(1, self.apart.shape[:2])  # (batch, window, place)
            addend = torch.where(hidden[:, None, :, None], float("-inf"), addend)
        parts = [self.by_window(each) for each in (query, problem.key, problem.value)]
        found = F.scaled_dot_product_attention(
            *parts, attn_mask=addend.flatten(-4, -3), dropout_p=dropout, scale=problem.scale
        )
        return found.reshape(*query.shape[:2], len(self.slots), -1).index_select(2, self.places)

    def by_window(self, tokens: Tensor) -> Float[Tensor, "batch part place dim"]:
        """Tokens, window after window, head after head."""
        return tokens.index_select(2, self.slots).unflatten(2, self.apart.shape[:2]).flatten(1, 2)

    def addend(self) -> Float[Tensor, "head window place place"]:
        """The learned bias in every window, and minus infinity for pairs that must not attend."""
        own = WindowBias(self.table, self.extent, self.window)
        place = torch.arange(self.apart.shape[1], device=self.table.device)
        head = torch.arange(len(self.table), device=self.table.device)[:, None, None]
        bias = own.scores(place[:1], head, place[:, None], place)[:, None].expand(-1, len(self.apart), -1, -1)
        return bias.masked_fill(self.apart, float("-inf")) if self.is_cut else bias

    def rows_of_pattern(self, query: Tensor, key: Tensor, *, bias: Bias | None, **where: Any) -> Tensor:
        """Only what is asked for is computed."""
        return super().rows_of_pattern(query, key, bias=self.joint_bias(bias), **where)

    def joint_bias(self, bias: Bias | None) -> Bias:
        """The learned bias, and what the caller adds."""
        own = WindowBias(self.table, self.grid, self.window)
        return own if bias is None else Sum(own, bias)
