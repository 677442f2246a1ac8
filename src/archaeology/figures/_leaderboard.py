"""Who wins among the methods of explanation for one model: every method by every judge, less chance, with intervals."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float

from archaeology.core.names import plural
from archaeology.dig.directory import RunDirectory
from archaeology.explain.method import title_of
from archaeology.figures._theme import COLOURS, bare, dots, new_figure, place, round_ticks, themed
from archaeology.figures.accuracy import NAMES
from archaeology.figures.drawing import DataTable
from archaeology.figures.terms import judge_term
from archaeology.figures.words import NOT_KNOWN, fixed, number, percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CLEAR = 0.95
NAME_WIDTH, COLUMN, GAP, TOP, ROW, CHECK_WIDTH = 1.72, 1.1, 0.2, 0.62, 0.27, 0.98


@dataclass(frozen=True)
class Board:
    """The leaderboard of one model.

    Attributes:
        model: "vit" or "cnn".
        methods: Lowest mean rank first, the random map last.
        judges: All of them, those that decide first.
        num_deciding: How many of them decide who wins.
        kinds: What each judge looks at.
        above: Mean difference from chance; NaN where a judge could not judge.
        low: Lower end of its 95 % interval.
        high: Upper end.
        beats: Whether it is surely above chance, by the corrected test.
        rank: Mean rank over the judges that decide; NaN for the random map.
        rank_low: Lower end of its interval.
        rank_high: Upper end.
        sanity: "passes", "fails" or "undecided" in the randomization check, "" where it was not made.
        best_share: Share of resamples in which the mean rank is the lowest.
        winner: Method, or None; `reason` says why.
        rule: By which the winner was found.
        floor: The random map.
        missing: Methods that the model does not allow, and why.
        images: How many were judged.
    """

    model: str
    methods: tuple[str, ...]
    judges: tuple[str, ...]
    num_deciding: int
    kinds: tuple[str, ...]
    above: Float[np.ndarray, "method judge"]
    low: Float[np.ndarray, "method judge"]
    high: Float[np.ndarray, "method judge"]
    beats: Bool[np.ndarray, "method judge"]
    rank: Float[np.ndarray, " method"]
    rank_low: Float[np.ndarray, " method"]
    rank_high: Float[np.ndarray, " method"]
    sanity: tuple[str, ...]
    best_share: Float[np.ndarray, " method"]
    winner: str | None
    reason: str
    rule: str
    floor: str
    missing: dict[str, str]
    images: int

    @property
    def shown(self) -> int:
        """How many judges the picture shows: those that decide, or all if none does."""
        return self.num_deciding or len(self.judges)

    @property
    def num_contenders(self) -> int:
        """Methods without the random map."""
        return sum(method != self.floor for method in self.methods)


def board(run: RunDirectory, model: str) -> Board | None:
    """The leaderboard of `model`; None where the run has none."""
    found = (run.results.get("leaderboard") or {}).get(model)
    if not found or not found["verdicts"]:
        return None
    verdicts = sorted(found["verdicts"], key=lambda verdict: not verdict["counts"])
    overall = {each["method"]: each for each in found["overall"]}
    methods = _ordered(found, verdicts, overall)
    cells = [_cells(verdict, methods) for verdict in verdicts]
    ranks = np.array([_interval((overall.get(method) or {}).get("mean_rank")) for method in methods])
    return Board(
        model=model,
        methods=methods,
        judges=tuple(verdict["judge"] for verdict in verdicts),
        num_deciding=sum(bool(verdict["counts"]) for verdict in verdicts),
        kinds=tuple(verdict["kind"] for verdict in verdicts),
        above=np.stack([cell[:, 0] for cell in cells], axis=1),
        low=np.stack([cell[:, 1] for cell in cells], axis=1),
        high=np.stack([cell[:, 2] for cell in cells], axis=1),
        beats=np.stack([cell[:, 3] > 0 for cell in cells], axis=1),
        rank=ranks[:, 0],
        rank_low=ranks[:, 1],
        rank_high=ranks[:, 2],
        sanity=tuple(
            ((overall.get(method) or {}).get("sanity") or {}).get("verdict", "") for method in methods
        ),
        best_share=np.array([_float((overall.get(method) or {}).get("best_share")) for method in methods]),
        winner=found["winner"],
        reason=found["reason"],
        rule=found["rule"],
        floor=found["floor"],
        missing=dict(found["missing"]),
        images=int(found["images"]),
    )


def _ordered(
    found: Mapping[str, Any], verdicts: Sequence[Any], overall: Mapping[str, Any]
) -> tuple[str, ...]:
    every = dict.fromkeys(
        [*overall, *(each["method"] for verdict in verdicts for each in verdict["standings"])]
    )
    return tuple(sorted(every, key=lambda method: method == found["floor"]))


def _cells(verdict: Mapping[str, Any], methods: Sequence[str]) -> Float[np.ndarray, "method 4"]:
    """Value, low, high and whether it beats chance, a row for each method."""
    standings = {each["method"]: each for each in verdict["standings"]}
    rows = np.full((len(methods), 4), np.nan)
    for row, method in enumerate(methods):
        if method in standings:
            rows[row, :3] = _interval(standings[method]["above_chance"])
            rows[row, 3] = standings[method]["beats_chance"]
    return rows


def _interval(found: Mapping[str, Any] | None) -> tuple[float, float, float]:
    if found is None:
        return math.nan, math.nan, math.nan
    return _float(found["value"]), _float(found["low"]), _float(found["high"])


def _float(value: float | None) -> float:
    return math.nan if value is None else float(value)


def board_headline(data: Board) -> str:
    """Which map to believe, by what numbers; or why none."""
    name, of = NAMES[data.model], plural(data.images, "image")
    if data.winner is None:
        return f"For the {name} no map is shown to be worth believing: {data.reason} ({of})."
    row = data.methods.index(data.winner)
    beaten = int(data.beats[row, : data.num_deciding].sum())
    sanity = {"passes": ", and it passes the randomization check", "": ""}
    check = sanity.get(data.sanity[row], ", while the randomization check is undecided")
    rank, low, high = (fixed(float(part[row]), 1) for part in (data.rank, data.rank_low, data.rank_high))
    said = (
        f"For the {name}, believe {title_of(data.winner)}: mean rank {rank} of {data.num_contenders} "
        f"(95 % interval {low} to {high}, {of}), better than chance with {beaten} of {data.num_deciding} judges that "
        f"decide{check}."
    )
    share = float(data.best_share[row])
    if not np.isfinite(share) or share >= CLEAR:
        return said
    return f"{said} It is first in {percent(share, 0)} of resamples, so others may be as good."


def draw_board(data: Board, name: str) -> "Figure":
    """Methods down, mean rank and judges across: dots with intervals against chance, the winner on a band."""
    shown, rows = data.shown, len(data.methods)
    has_rank, has_check = bool(np.isfinite(data.rank).any()), any(data.sanity)
    columns = shown + has_rank
    width = NAME_WIDTH + columns * COLUMN + (columns - 1) * GAP + (CHECK_WIDTH if has_check else 0.1)
    tall = rows * ROW
    with themed(name):
        figure = new_figure(width, TOP + tall + 0.48)
        _draw_names(figure, data, width, tall)
        left = NAME_WIDTH
        if has_rank:
            axes = _column(figure, left, tall, "Mean rank", "1 is best", is_first=True)
            _dots(axes, data, data.rank, data.rank_low, data.rank_high, _can_tell(data))
            axes.set_xlim(0.5, max(data.num_contenders + 0.5, 2))
            axes.set_xticks([1, *range(5, data.num_contenders + 1, 5)])
            left += COLUMN + GAP
        for judge in range(shown):
            axes = _column(figure, left, tall, judge_term(data.judges[judge]).title, data.kinds[judge])
            axes.axvline(0, color=COLOURS["muted"], linewidth=1, clip_on=False)
            _dots(
                axes,
                data,
                data.above[:, judge],
                data.low[:, judge],
                data.high[:, judge],
                data.beats[:, judge],
            )
            axes.margins(x=0.08)
            left += COLUMN + GAP
        _write(figure, NAME_WIDTH + has_rank * (COLUMN + GAP), TOP + tall + 0.4,
               "difference from chance (upright line); filled: surely above it", "muted")  # fmt: skip
        if has_check:
            _draw_checks(figure, data, left - GAP + 0.14)
    return figure


def _can_tell(data: Board) -> Bool[np.ndarray, " method"]:
    return np.array([method == data.winner for method in data.methods])


def _draw_names(figure: "Figure", data: Board, width: float, tall: float) -> None:
    """Names of methods, the band of the winner behind everything."""
    axes = place(figure, 0.0, TOP, width, tall)
    axes.set_xlim(0, width)
    axes.set_ylim(len(data.methods) - 0.5, -0.5)
    axes.axis("off")
    for row, method in enumerate(data.methods):
        is_winner = method == data.winner
        if is_winner:
            soft = COLOURS[f"{data.model}-soft"]
            axes.axhspan(row - 0.5, row + 0.5, color=soft, alpha=0.45, linewidth=0, clip_on=False)
        if method == data.floor:
            axes.axhline(row - 0.5, color=COLOURS["line"], linewidth=0.8, clip_on=False)
        fails = data.sanity[row] == "fails"
        axes.text(
            0.08,
            row,
            ("★ " if is_winner else "") + title_of(method),
            va="center",
            fontsize=9 if is_winner else 8.5,
            fontweight="bold" if is_winner else "normal",
            color=COLOURS["muted" if fails or method == data.floor else "ink"],
        )


def _column(
    figure: "Figure", left: float, tall: float, title: str, note: str, *, is_first: bool = False
) -> "Axes":
    axes = place(figure, left, TOP, COLUMN, tall)
    axes.set_yticks([])
    axes.grid(axis="x")
    bare(axes)
    axes.tick_params(labelsize=7, pad=1)
    axes.xaxis.set_major_locator(round_ticks(3))
    _write(figure, left, TOP - 0.34, title, "ink", is_bold=is_first)
    _write(figure, left, TOP - 0.17, note, "muted")
    return axes


def _write(
    figure: "Figure", left: float, below: float, text: str, colour: str, *, is_bold: bool = False
) -> None:
    width, height = figure.get_size_inches()
    weight = "bold" if is_bold else "normal"
    figure.text(
        left / width, 1 - below / height, text, fontsize=7.5, color=COLOURS[colour], fontweight=weight
    )


def _dots(
    axes: "Axes",
    data: Board,
    value: Float[np.ndarray, " method"],
    low: Float[np.ndarray, " method"],
    high: Float[np.ndarray, " method"],
    is_sure: Bool[np.ndarray, " method"],
) -> None:
    """One line of intervals, one of sure dots, one of others: few shapes, however many methods."""
    rows = np.arange(len(value), dtype=float)
    known = np.isfinite(value)
    axes.set_ylim(len(value) - 0.5, -0.5)
    for chosen, colour, fill in (
        (known & is_sure, data.model, COLOURS[data.model]),
        (known & ~is_sure, "muted", COLOURS["paper"]),
    ):
        if not chosen.any():
            continue
        gap = np.full(int(chosen.sum()), np.nan)
        axes.plot(
            np.stack([low[chosen], high[chosen], gap], axis=1).ravel(),
            np.repeat(rows[chosen], 3),
            color=COLOURS[colour],
            linewidth=1.5,
            clip_on=False,
        )
        dots(axes, value[chosen], rows[chosen], size=4.2, fill=fill, edge=COLOURS[colour], edge_width=1.1)


def _draw_checks(figure: "Figure", data: Board, left: float) -> None:
    """What the randomization check says, in words, at the right end of every row."""
    _write(figure, left, TOP - 0.34, "Changes with", "ink")
    _write(figure, left, TOP - 0.17, "the model?", "ink")
    words = {
        "passes": ("✓ yes", "right"),
        "fails": ("✗ no: out", "wrong"),
        "undecided": ("undecided", "muted"),
    }
    for row, verdict in enumerate(data.sanity):
        if verdict in words:
            text, colour = words[verdict]
            _write(figure, left, TOP + (row + 0.5) * ROW + 0.04, text, colour)


def board_table(data: Board) -> DataTable:
    """One row per method: mean rank, the check, the judges of more than simplicity; a star where it beats chance."""
    kept = [
        place
        for place, judge in enumerate(data.judges)
        if judge != "randomization" and data.kinds[place] != "simplicity"
    ]
    judges = [
        judge_term(judge).title + ("" if place < data.num_deciding else " (does not decide)")
        for place, judge in enumerate(data.judges)
        if place in kept
    ]
    rows = []
    for row, method in enumerate(data.methods):
        title = title_of(method) + (" (winner)" if method == data.winner else "")
        rank = _span(data.rank[row], data.rank_low[row], data.rank_high[row])
        marks = [
            _span(
                data.above[row, at], data.low[row, at], data.high[row, at], "*" if data.beats[row, at] else ""
            )
            for at in kept
        ]
        rows.append((title, rank, data.sanity[row] or NOT_KNOWN, *marks))
    return DataTable(("Method", "Mean rank", "Randomization check", *judges), tuple(rows))


def _span(value: float, low: float, high: float, after: str = "") -> str:
    if not np.isfinite(value):
        return NOT_KNOWN
    value, low, high = float(value), float(low), float(high)
    return f"{number(value, 2)}{after} ({number(low, 2)} to {number(high, 2)})"
