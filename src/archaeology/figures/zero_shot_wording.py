"""How much does the wording matter? Accuracy of naming images by words, template by template, with intervals."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from archaeology.figures._labels import LEFT
from archaeology.figures._theme import COLOURS, bare, dots, new_figure, place, round_ticks, themed
from archaeology.figures._world_ink import headline_height, title, write_at, write_headline
from archaeology.figures.drawing import DataTable, Drawing, learning_figures
from archaeology.figures.words import count, p_value, percent, points
from archaeology.represent.zero_shot import LEVEL, ZeroShot

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDE, ROW, LETTER = 3.6, 0.24, 0.068  # inches
LONGEST = 44  # letters of a template that are written
TOGETHER = "all together"


@dataclass(frozen=True)
class WordingRow:
    """One template.

    Attributes:
        name: The template, or that these are all.
        accuracy: Share named rightly.
        low: Lower end of Wilson's interval.
        high: Upper end.
    """

    name: str
    accuracy: float
    low: float
    high: float


@dataclass(frozen=True)
class ZeroShotWording:
    """Everything drawn.

    Attributes:
        model: Its name.
        together: All templates at once.
        rows: Single templates, the best first; none where there is one only.
        chance: One by the number of classes.
        n: Images.
        num_classes: Names to choose from.
        gap: Best less worst, with its interval; NaN for one template.
        p_value: That all templates are alike, after Holm over all questions asked; NaN likewise.
        is_above_luck: Whether the ensemble is surely better than its answers dealt out at random.
    """

    model: str
    together: WordingRow
    rows: tuple[WordingRow, ...]
    chance: float
    n: int
    num_classes: int
    gap: tuple[float, float, float]
    p_value: float
    is_above_luck: bool


def compute(source: ZeroShot) -> ZeroShotWording:
    """Accuracies, sorted."""
    spread, own = source.sensitivity, source.accuracy
    rows = [
        WordingRow(template, each.value, each.low, each.high)
        for template, each in zip(source.templates, source.accuracies, strict=True)
    ]
    nan = float("nan")
    return ZeroShotWording(
        model=source.model,
        together=WordingRow(TOGETHER, own.value, own.low, own.high),
        rows=tuple(sorted(rows, key=lambda row: -row.accuracy)) if spread is not None else (),
        chance=source.chance,
        n=source.num_images,
        num_classes=len(source.classes),
        gap=(nan, nan, nan) if spread is None else (spread.gap.value, spread.gap.low, spread.gap.high),
        p_value=nan if source.wording_p_corrected is None else source.wording_p_corrected,
        is_above_luck=source.luck_p_corrected < LEVEL,
    )


def headline(data: ZeroShotWording) -> str:
    """What words alone reach, and whether it matters which."""
    reached = f"By words alone {percent(data.together.accuracy)} of {count(data.n)} images are named rightly"
    reached += "" if data.is_above_luck else ", not surely more than by luck"
    if not data.rows:
        return f"{reached}."
    if not data.p_value < LEVEL:
        return f"{reached}; that the wording matters is not shown."
    value, low, high = data.gap
    return (
        f"{reached}; the best and the worst wording lie {points(value)} points apart (95 % interval {points(low)} to "
        f"{points(high)})."
    )


def draw(data: ZeroShotWording) -> "Figure":
    """One row for each template, the ensemble on top, chance as a line."""
    rows = (data.together, *data.rows)
    names = 0.25 + LETTER * max(len(_short(row.name)) for row in rows)
    width = LEFT + names + WIDE + 0.3
    top = headline_height(width, headline(data)) + 0.62
    with themed("zero_shot_wording"):
        figure = new_figure(width, top + ROW * len(rows) + 0.5)
        write_headline(figure, headline(data))
        write_at(figure, LEFT, top - 0.5, f"{data.model}; dotted: chance", colour="muted", size=8.0)
        axes = place(figure, LEFT + names, top, WIDE, ROW * len(rows))
        title(axes, f"named rightly, of {data.num_classes} classes (%)")
        highest = max(row.high for row in rows)
        axes.set_xlim(0, 100 * min(1.0, max(highest * 1.08, 2 * data.chance)))
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.axvline(100 * data.chance, color=COLOURS["muted"], linewidth=1, linestyle=(0, (1, 2)))
        for at, row in enumerate(rows):
            colour = COLOURS["vit" if at == 0 else "ink"]
            axes.plot(
                [100 * row.low, 100 * row.high], [at, at], color=colour, linewidth=2.0 if at == 0 else 1.2
            )
            size = 6.0 if at == 0 else 4.2
            dots(axes, np.array([100 * row.accuracy]), np.array([float(at)]), size=size, fill=colour)
        axes.set_yticks(range(len(rows)), [_short(row.name) for row in rows])
        bare(axes)
        axes.tick_params(axis="y", pad=6, labelcolor=COLOURS["ink"])
        axes.grid(axis="x")
        axes.xaxis.set_major_locator(round_ticks())
    return figure


def _short(name: str) -> str:
    return name if len(name) <= LONGEST else name[: LONGEST - 1] + "\N{HORIZONTAL ELLIPSIS}"


def table(data: ZeroShotWording) -> DataTable:
    """Every template with its interval, the ensemble first, chance last."""
    rows = [
        (row.name, percent(row.accuracy), f"{points(row.low)} to {points(row.high)}")
        for row in (data.together, *data.rows)
    ]
    if data.rows:
        value, low, high = data.gap
        rows.append(
            (
                f"best less worst (p {p_value(data.p_value)})",
                points(value),
                f"{points(low)} to {points(high)}",
            )
        )
    rows.append((f"chance among {data.num_classes} classes", percent(data.chance), "\N{EN DASH}"))
    return DataTable(("Template", "Named rightly", "95 % interval"), tuple(rows))


zero_shot_wording = learning_figures.register("zero_shot_wording")(
    Drawing(
        name="zero_shot_wording",
        title="How much does the wording matter?",
        explanation="A class is asked for by a sentence. Another sentence that says the same should be answered alike.",
        definition="Share of images whose nearest sentence, by cosine, names their class, with Wilson's 95 % "
        "interval. All together: the mean of the sentences' features, each of length one. Best less worst: bootstrap "
        "over the same images of this one pair, which was chosen on them; that wording matters is said where Cochran's "
        f"Q has p below {LEVEL:g} after Holm's correction over all questions asked of these images.",
        compute=compute,
        headline=headline,
        draw=draw,
        table=table,
    )
)
