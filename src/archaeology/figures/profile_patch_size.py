"""Small patches see more and cost far more: FLOPs, memory and time of one ViT, by the side of its patches."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from archaeology.core.names import plural
from archaeology.figures._labels import LEFT, write_above, write_verdict
from archaeology.figures._theme import COLOURS, new_figure, place, themed
from archaeology.figures.drawing import DataTable, Drawing, profile_figures
from archaeology.figures.profile_specimens import against_formula, memory_text
from archaeology.figures.words import NOT_KNOWN, count, number, percent
from archaeology.profiling.directory import Profile, ProfileRun

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

HEIGHT, PANEL, GAP, TOP = 2.3, 2.3, 0.75, 1.3  # inches
COMPARING, REST = (
    "cnn",
    "vit",
)  # colours of what grows with the square of the tokens, and of what grows with them


@dataclass(frozen=True)
class PatchSizes:
    """One ViT, coarse patches first.

    Attributes:
        name: Of the model.
        image_size: Side in pixels.
        patch_sizes: Sides in pixels, shrinking.
        tokens: At each.
        gigaflops: Of one image.
        pair_shares: Of products between tokens in the FLOPs, between 0 and 1.
        mebibytes: Peak memory of one batch; NaN where it was not measured.
        milliseconds: Median time of one batch; NaN where it was not measured.
        low: Tenth percentile, in milliseconds.
        high: Ninetieth percentile, in milliseconds.
        formulas: How the count compares with the closed formula, in words.
        batch: Images in a batch.
        setting: Machine, threads and precision, in words.
    """

    name: str
    image_size: int
    patch_sizes: list[int]
    tokens: list[int]
    gigaflops: list[float]
    pair_shares: list[float]
    mebibytes: list[float]
    milliseconds: list[float]
    low: list[float]
    high: list[float]
    formulas: list[str]
    batch: int
    setting: str


def compute(run: ProfileRun) -> PatchSizes | None:
    """The costs at the smallest batch size; None for fewer than two patch sizes."""
    found = [(profile.patch_size, profile) for profile in run.profiles if profile.patch_size is not None]
    found = sorted(((size, profile) for size, profile in found), key=lambda pair: -pair[0])
    if len(found) < 2:
        return None
    profiles, batch = [profile for _, profile in found], run.config.batch_sizes[0]
    costs = [profile.cost(batch) for profile in profiles]
    nothing = math.nan
    return PatchSizes(
        name=profiles[0].name.partition(", patch")[0],
        image_size=profiles[0].image_size[0],
        patch_sizes=[size for size, _ in found],
        tokens=[_tokens(profile, size) for size, profile in found],
        gigaflops=[profile.flops / 1e9 for profile in profiles],
        pair_shares=[profile.pair_flops / profile.flops for profile in profiles],
        mebibytes=[nothing if c is None or c.mebibytes is None else c.mebibytes for c in costs],
        milliseconds=[nothing if c is None else c.milliseconds for c in costs],
        low=[nothing if c is None else c.low for c in costs],
        high=[nothing if c is None else c.high for c in costs],
        formulas=[against_formula(profile) for profile in profiles],
        batch=batch,
        setting=run.setting,
    )


def _tokens(profile: Profile, patch_size: int) -> int:
    height, width = profile.image_size
    return profile.tokens or (height // patch_size) * (width // patch_size)


def factor(values: Sequence[float | int]) -> float:
    """How many times the last is the first; NaN where one of them is not known or nothing."""
    return values[-1] / values[0] if values[0] > 0 else math.nan


def headline(data: PatchSizes) -> str:
    """By how much everything grows, and what share of the FLOPs compares tokens."""
    grown = {
        "the tokens": factor(data.tokens),
        "the FLOPs": factor(data.gigaflops),
        "the time": factor(data.milliseconds),
        "the memory": factor(data.mebibytes) if data.mebibytes[0] >= 1 else math.nan,
    }
    said = [f"{number(times, 2)} times {what}" for what, times in grown.items() if math.isfinite(times)]
    return (
        f"From patches of {data.patch_sizes[0]} to {data.patch_sizes[-1]} pixels: {', '.join(said)}; products between "
        f"tokens, which grow with N\N{SUPERSCRIPT TWO}, rise from {percent(data.pair_shares[0])} to "
        f"{percent(data.pair_shares[-1])} of the FLOPs."
    )


def draw(data: PatchSizes) -> "Figure":
    """Bars for each patch size: FLOPs in two parts, memory, time."""
    with themed("profile_patch_size"):
        figure = new_figure(0.75 + 3 * (PANEL + GAP), TOP + HEIGHT + 0.7)
        write_verdict(figure, headline(data))
        images = plural(data.batch, "image")
        setting = f"{data.name} on {data.image_size} pixels, {images} at once; {data.setting}"
        write_above(figure, 0.56, setting, colour="muted")
        compares = [whole * share for whole, share in zip(data.gigaflops, data.pair_shares, strict=True)]
        _write_parts(figure)
        panels = [place(figure, 0.75 + i * (PANEL + GAP), TOP, PANEL, HEIGHT) for i in range(3)]
        _bars(panels[0], data, data.gigaflops, "GFLOPs for one image")
        panels[0].bar(range(len(compares)), compares, width=0.6, color=COLOURS[COMPARING])
        _bars(panels[1], data, data.mebibytes, f"peak memory of {images} (MiB)")
        _bars(panels[2], data, data.milliseconds, f"time of {images} (ms)", data.high)
        for place_of, (low, high) in enumerate(zip(data.low, data.high, strict=True)):
            if high > low:
                panels[2].plot([place_of, place_of], [low, high], color=COLOURS["ink"], linewidth=1.2)
    return figure


def _bars(
    axes: "Axes", data: PatchSizes, values: list[float], title: str, tops: Sequence[float] = ()
) -> None:
    known = [value for value in values if math.isfinite(value)]
    for at, (value, high) in enumerate(zip(values, tops or values, strict=True)):
        if math.isfinite(value):
            axes.bar(at, value, width=0.6, color=COLOURS[REST])
        text = (
            number(value) if at == 0 or not math.isfinite(factor([values[0], value])) else _grown(values, at)
        )
        axes.annotate(
            text,
            (at, max(value, high) if math.isfinite(value) else 0),
            xytext=(0, 4),
            textcoords="offset points",
            ha="center",
            fontsize=8,
            color=COLOURS["ink"],
        )
    known += [high for high in tops if math.isfinite(high)]
    axes.set_ylim(0, 1.12 * (max(known, default=0.0) or 1.0))
    axes.set_xlim(-0.5, len(values) - 0.5)
    sizes = zip(data.patch_sizes, data.tokens, strict=True)
    axes.set_xticks(range(len(values)), [f"{size}\n{count(tokens)} tokens" for size, tokens in sizes])
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,g}")
    axes.grid(axis="y")
    axes.tick_params(bottom=False)
    axes.set_title(title, loc="left", fontsize=9, color=COLOURS["ink"])
    axes.set_xlabel("side of a patch (pixels)")


def _grown(values: list[float], at: int) -> str:
    return f"{number(values[at])} (\N{MULTIPLICATION SIGN}{number(factor([values[0], values[at]]), 2)})"


def _write_parts(figure: "Figure") -> None:
    width, height = figure.get_size_inches()
    left = LEFT
    for colour, words in (
        (COMPARING, "products between tokens: grow with N\N{SUPERSCRIPT TWO}"),
        (REST, "all else: grows with the tokens N"),
    ):
        text = f"\N{BLACK CIRCLE} {words}"
        figure.text(left / width, 1 - 0.77 / height, text, va="top", color=COLOURS[colour])
        left += 0.062 * len(words) + 0.4


def table(data: PatchSizes) -> DataTable:
    """A row for each patch size."""
    rows = zip(
        data.patch_sizes,
        data.tokens,
        data.gigaflops,
        data.formulas,
        data.pair_shares,
        data.mebibytes,
        data.milliseconds,
        data.low,
        data.high,
        strict=True,
    )
    return DataTable(
        (
            "Patch",
            "Tokens",
            "GFLOPs",
            "Against formula",
            "N\N{SUPERSCRIPT TWO}",
            "MiB",
            "ms (p10\N{EN DASH}p90)",
        ),
        tuple(
            (
                str(size),
                count(tokens),
                number(gigaflops),
                formula,
                percent(share),
                memory_text(mebibytes),
                f"{number(middle)} ({number(low)}{NOT_KNOWN}{number(high)})"
                if math.isfinite(middle)
                else NOT_KNOWN,
            )
            for size, tokens, gigaflops, formula, share, mebibytes, middle, low, high in rows
        ),
    )


profile_patch_size = profile_figures.register("profile_patch_size")(
    Drawing(
        name="profile_patch_size",
        title="What do small patches cost?",
        explanation="Half the side of a patch makes four times the tokens: most of the work grows fourfold with them, "
        "but comparing every token with every other grows sixteenfold, and takes over. Memory need not follow: fused "
        "attention never holds all comparisons at once.",
        definition="One vision transformer with random weights, built with each patch size for images of one size. "
        "FLOPs of one image, counted while it runs, 2 a multiply-add; those of products between tokens (queries with "
        "keys, weights with values) apart. Peak memory beyond weights and images, and median time with tenth "
        "and ninetieth percentile, of one forward pass without gradients.",
        compute=compute,
        headline=headline,
        draw=draw,
        table=table,
    )
)
