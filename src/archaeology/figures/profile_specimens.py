"""Models side by side: what they hold, compute and need, how long one image takes and how many pass in a second."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from archaeology.core.names import plural
from archaeology.figures._labels import LEFT, write_above, write_verdict
from archaeology.figures._theme import COLOURS, bare, new_figure, place, themed
from archaeology.figures.drawing import DataTable, Drawing, profile_figures
from archaeology.figures.words import NOT_KNOWN, fixed, number, percent
from archaeology.profiling.directory import Profile, ProfileRun

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

KIND_COLOURS = {"transformer": "vit", "convolutional": "cnn", "other": "muted"}
KIND_WORDS = {"transformer": "attends", "convolutional": "convolves", "other": "neither"}
LEAST_MEBIBYTES = 1.0  # less than this is lost in the noise of pages
PANEL, GAP, ROW, TOP = 1.45, 0.3, 0.36, 1.3  # inches
CLEAR = 1.05  # times as fast; a smaller lead is a tie


@dataclass(frozen=True)
class Quantity:
    """One panel.

    Attributes:
        title: What it shows, with the unit.
        values: By specimen; NaN where it was not measured.
        low: Tenth percentile, for times; else as `values`.
        high: Ninetieth percentile, likewise.
    """

    title: str
    values: list[float]
    low: list[float]
    high: list[float]


@dataclass(frozen=True)
class Specimens:
    """Everything drawn.

    Attributes:
        names: Of the specimens, as they were given.
        kinds: Of each.
        quantities: The panels, left to right.
        rows: Of the table: a specimen in a batch size.
        batches: The smallest batch size, and the largest that was not too large for all.
        verdict: What differs most, in a sentence.
        setting: Machine, threads, precision and rounds, in words.
    """

    names: list[str]
    kinds: list[str]
    quantities: list[Quantity]
    rows: list[list[str]]
    batches: tuple[int, int]
    verdict: str
    setting: str


def compute(run: ProfileRun) -> Specimens | None:
    """The specimens that were asked for by name; None where only patch sizes were."""
    profiles = [profile for profile in run.profiles if profile.patch_size is None]
    if not profiles:
        return None
    small, large = run.config.batch_sizes[0], _largest(profiles, run.config.batch_sizes)
    quantities = [
        _exact("parameters (M)", [profile.parameters / 1e6 for profile in profiles]),
        _exact("GFLOPs for one image", [profile.flops / 1e9 for profile in profiles]),
        _exact(f"memory, {_images(large)} (MiB)", [_mebibytes(profile, large) for profile in profiles]),
        _times(f"time, {_images(small)} (ms)", profiles, small),
        _exact(f"images a second, {large:,} at once", [_throughput(profile, large) for profile in profiles]),
    ]
    rounds = min((cost.rounds for profile in profiles for cost in profile.costs), default=0)
    return Specimens(
        names=[_named(profile) for profile in profiles],
        kinds=[profile.kind for profile in profiles],
        quantities=quantities,
        rows=[row for profile in profiles for row in rows_of(profile)],
        batches=(small, large),
        verdict=verdict(profiles, small, large),
        setting=f"{run.setting}; medians of {rounds} rounds, lines from the tenth to the ninetieth percentile",
    )


def _largest(profiles: Sequence[Profile], batches: Sequence[int]) -> int:
    """The largest batch that was not too large for all."""
    measured = [batch for batch in batches if any(profile.cost(batch) is not None for profile in profiles)]
    return max(measured, default=batches[-1])


def _images(batch: int) -> str:
    return plural(batch, "image")


def _named(profile: Profile) -> str:
    """The name with the size of its images."""
    return f"{profile.name} ({_pixels(profile)})"


def _pixels(profile: Profile) -> str:
    height, width = profile.image_size
    return f"{height}" if height == width else f"{height} x {width}"


def _exact(title: str, values: list[float]) -> Quantity:
    return Quantity(title, values, values, values)


def _times(title: str, profiles: list[Profile], batch: int) -> Quantity:
    costs = [profile.cost(batch) for profile in profiles]
    known = [(c.milliseconds, c.low, c.high) if c is not None else (math.nan,) * 3 for c in costs]
    middle, low, high = (list(values) for values in zip(*known, strict=True))
    return Quantity(title, middle, low, high)


def _mebibytes(profile: Profile, batch: int) -> float:
    cost = profile.cost(batch)
    return math.nan if cost is None or cost.mebibytes is None else cost.mebibytes


def _throughput(profile: Profile, batch: int) -> float:
    cost = profile.cost(batch)
    return math.nan if cost is None else cost.images_per_second


def verdict(profiles: list[Profile], small: int, large: int) -> str:
    """How far FLOPs and times lie apart, and who is fastest."""
    if len(profiles) == 1:
        return f"{profiles[0].name}: {number(profiles[0].flops / 1e9)} GFLOPs for one image."
    flops = [profile.flops for profile in profiles]
    said = f"FLOPs differ by a factor of {fixed(max(flops) / max(1, min(flops)), 2)}"
    leaders = []
    for batch in dict.fromkeys((small, large)):
        times = {p.name: cost.milliseconds for p in profiles if (cost := p.cost(batch)) is not None}
        if len(times) > 1:
            said += f", the time of {_images(batch)} by {fixed(max(times.values()) / min(times.values()), 2)}"
            leaders.append(f"{_images(batch)}: {_leader(times)}")
    return f"{said}; {', '.join(leaders)}." if leaders else f"{said}."


def _leader(times: dict[str, float]) -> str:
    """Who is fastest and by how much, unless two are as good as one."""
    first, second = sorted(times, key=lambda name: times[name])[:2]
    lead = times[second] / times[first]
    if lead < CLEAR:
        return f"{first} and {second} alike"
    return f"{first} is fastest, {fixed(lead, 2)} times as fast as the next"


def rows_of(profile: Profile) -> list[list[str]]:
    """A row of text for each batch size."""
    facts = [profile.name, number(profile.parameters / 1e6), number(profile.flops / 1e9)]
    if not profile.costs:
        return [[*facts, f"{NOT_KNOWN} of {_pixels(profile)}", *[NOT_KNOWN] * 3]]
    return [
        [
            *facts,
            f"{cost.batch:,} of {_pixels(profile)}",
            memory_text(cost.mebibytes),
            f"{number(cost.milliseconds)} ({number(cost.low)}{NOT_KNOWN}{number(cost.high)})",
            number(cost.images_per_second),
        ]
        for cost in profile.costs
    ]


def against_formula(profile: Profile) -> str:
    """How far the count lies from the closed formula."""
    if profile.formula_flops is None:
        return NOT_KNOWN
    difference = profile.flops / profile.formula_flops - 1
    return "equal" if difference == 0 else percent(difference, 2)


def memory_text(mebibytes: float | None) -> str:
    """Mebibytes; what is lost in the noise is not written as if it were known."""
    if mebibytes is None or math.isnan(mebibytes):
        return NOT_KNOWN
    return f"< {LEAST_MEBIBYTES:g}" if mebibytes < LEAST_MEBIBYTES else number(mebibytes)


def headline(data: Specimens) -> str:
    """Who is fastest."""
    return data.verdict


def draw(data: Specimens) -> "Figure":
    """A panel for each quantity, a row for each specimen."""
    count = len(data.names)
    names = 0.35 + 0.075 * max(map(len, data.names))
    width = max(9.6, LEFT + names + len(data.quantities) * (PANEL + GAP) + 0.1)
    with themed("profile_specimens"):
        figure = new_figure(width, TOP + ROW * count + 0.25)
        write_verdict(figure, data.verdict)
        write_above(figure, 0.56, data.setting, colour="muted")
        _write_kinds(figure, data.kinds)
        for number_of, quantity in enumerate(data.quantities):
            left = LEFT + names + number_of * (PANEL + GAP)
            axes = place(figure, left, TOP, PANEL, ROW * count)
            _panel(axes, quantity, [KIND_COLOURS[kind] for kind in data.kinds])
            if number_of == 0:
                axes.set_yticks(range(count), data.names)
                axes.tick_params(axis="y", pad=6, labelcolor=COLOURS["ink"])
    return figure


def _write_kinds(figure: "Figure", kinds: list[str]) -> None:
    width, height = figure.get_size_inches()
    left = LEFT
    for kind, words in KIND_WORDS.items():
        if kind in kinds:
            colour = COLOURS[KIND_COLOURS[kind]]
            figure.text(left / width, 1 - 0.77 / height, f"\N{BLACK CIRCLE} {words}", va="top", color=colour)
            left += 0.07 * len(words) + 0.35


def _panel(axes: "Axes", quantity: Quantity, colours: list[str]) -> None:
    largest = max((high for high in quantity.high if not math.isnan(high)), default=1.0) or 1.0
    for row, value in enumerate(quantity.values):
        if math.isnan(value):
            axes.text(0, row, NOT_KNOWN, va="center_baseline", color=COLOURS["muted"])
            continue
        axes.barh(row, value, height=0.55, color=COLOURS[colours[row]])
        low, high = quantity.low[row], quantity.high[row]
        if high > low:
            axes.plot([low, high], [row, row], color=COLOURS["ink"], linewidth=1.2)
        end = max(value, high) + 0.03 * largest
        axes.text(end, row, number(value), va="center_baseline", fontsize=7.5, color=COLOURS["ink"])
    axes.set_xlim(0, 1.45 * largest)
    axes.set_ylim(len(colours) - 0.5, -0.5)
    axes.set_xticks([])
    axes.set_yticks([])
    bare(axes)
    axes.set_title(quantity.title, loc="left", fontsize=8.5, color=COLOURS["ink"])


COLUMNS = ("Specimen", "Params (M)", "GFLOPs", "Images", "MiB", "ms (p10\N{EN DASH}p90)", "Images/s")


def table(data: Specimens) -> DataTable:
    """All that was measured, a row for each batch size."""
    return DataTable(COLUMNS, tuple(tuple(row) for row in data.rows))


profile_specimens = profile_figures.register("profile_specimens")(
    Drawing(
        name="profile_specimens",
        title="What does each model cost?",
        explanation="Models that compute equally much need not be equally fast: what they move through memory, and in "
        "how many small steps they work, counts too.",
        definition="FLOPs of matrix products, convolutions and attention for one image, counted while it runs, 2 a "
        "multiply-add (papers often give multiply-adds, half of it). Times are of a "
        " forward pass without gradients on normalised images, all specimens in turn, median with tenth and ninetieth "
        "percentile. Memory is the peak beyond weights and images: on a CPU how far the resident set rises in a "
        "process of its own, on a GPU what PyTorch's allocator counts.",
        compute=compute,
        headline=headline,
        draw=draw,
        table=table,
    )
)
