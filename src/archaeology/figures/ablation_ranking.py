"""Which heads matter, ranked: those whose replacement by their mean changes the loss most."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float, Int

from archaeology.core.names import plural
from archaeology.dig.directory import RunDirectory
from archaeology.figures._effects import MISS_RATE
from archaeology.figures._theme import COLOURS, bare, dots, new_figure, place, round_ticks, themed
from archaeology.figures.drawing import DataTable, Drawing, Wording, figures
from archaeology.figures.words import NOT_KNOWN, count, fixed, p_value

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_HEADS = 20
LEFT, TOP, WIDTH, ROW = 1.12, 0.36, 3.6, 0.19
MEASURED = (
    "Cross-entropy with the output of this one head replaced by its mean, less the cross-entropy of the whole model, "
    "in nats, over the same images"
)
CHOSEN = (
    f"at most {MOST_HEADS} heads, those whose loss changes most in either direction, the most needed first. 95 % "
    "intervals from a paired bootstrap, not corrected. A dot is filled where a sign-flip test of the loss, corrected "
    "for all heads tried (Holm), has p below 0.05; hollow is not shown to matter, which may mean too few images. The "
    "heads at the top were picked for being there, so their effects are likelier over- than underestimated."
)


@dataclass(frozen=True)
class HeadRanking:
    """The heads with the largest effects, the most needed first.

    Attributes:
        layer: Of each head shown, counted from 0.
        head: Likewise.
        loss: Rise in loss in nats without it: value, low and high of its 95 % interval; NaN where that is missing.
        p_corrected: Of the test that the loss does not change, corrected for all heads; NaN where there was no test.
        matters: Where that is below the level, 0.05.
        verdict: In words; empty where there is none.
        num_heads: How many heads were measured, shown or not.
        num_needed: How many of those matter and raise the loss when they go.
        num_harmful: How many matter and lower it.
        num_excluding_zero: How many have an interval on one side of zero.
        tested: Whether there was a test.
        n: Images behind each effect.
    """

    layer: Int[np.ndarray, " shown"]
    head: Int[np.ndarray, " shown"]
    loss: Float[np.ndarray, "end shown"]
    p_corrected: Float[np.ndarray, " shown"]
    matters: Bool[np.ndarray, " shown"]
    verdict: tuple[str, ...]
    num_heads: int
    num_needed: int
    num_harmful: int
    num_excluding_zero: int
    tested: bool
    n: int


def compute(run: RunDirectory) -> HeadRanking | None:
    """At most `MOST_HEADS` heads of heads.parquet; None where no head was ablated."""
    measured = [row for row in run.heads.to_pylist() if np.isfinite(_number(row, "ablation_loss"))]
    if not measured:
        return None
    by_size = sorted(measured, key=lambda row: (-abs(row["ablation_loss"]), row["layer"], row["head"]))
    shown = sorted(by_size[:MOST_HEADS], key=lambda row: (-row["ablation_loss"], row["layer"], row["head"]))
    standing = [row["ablation_loss"] for row in measured if _matters(row)]
    ends = ("ablation_loss", "ablation_loss_low", "ablation_loss_high")
    return HeadRanking(
        layer=np.array([row["layer"] for row in shown]),
        head=np.array([row["head"] for row in shown]),
        loss=np.array([[_number(row, end) for row in shown] for end in ends]),
        p_corrected=np.array([_number(row, "p_corrected") for row in shown]),
        matters=np.array([_matters(row) for row in shown]),
        verdict=tuple(str(row.get("verdict") or "") for row in shown),
        num_heads=len(measured),
        num_needed=sum(loss > 0 for loss in standing),
        num_harmful=sum(loss <= 0 for loss in standing),
        num_excluding_zero=sum(_number(row, ends[1]) > 0 or _number(row, ends[2]) < 0 for row in measured),
        tested=any(np.isfinite(_number(row, "p_corrected")) for row in measured),
        n=max(int(row.get("ablation_n") or 0) for row in measured),
    )


def _number(row: dict[str, Any], name: str) -> float:
    value = row.get(name)
    return float("nan") if value is None else float(value)


def _matters(row: dict[str, Any]) -> bool:
    said = row.get("matters")
    return bool(_number(row, "p_corrected") < MISS_RATE if said is None else said)


def headline(data: HeadRanking) -> str:
    """The head needed most, if any is shown to be needed, and how many are after correction."""
    name = f"head {data.head[0] + 1} of layer {data.layer[0] + 1}"
    value = float(data.loss[0, 0])
    span = f"(95 % interval {fixed(float(data.loss[1, 0]), 3)} to {fixed(float(data.loss[2, 0]), 3)})"
    if value > 0 and data.num_needed and data.matters[0]:
        first = f"The model needs {name} most: without it the loss rises by {fixed(value, 3)} nats {span}."
    elif value > 0:
        first = f"The largest rise of the loss is that without {name}: {fixed(value, 3)} nats {span}."
    else:
        first = (
            f"No head shown is needed: even without {name} the loss changes by {fixed(value, 3)} nats {span}."
        )
    if data.tested:
        second = (
            f"After correction for all heads tried, {count(data.num_needed)} of {plural(data.num_heads, 'head')} "
            f"{'is' if data.num_needed == 1 else 'are'} needed and {count(data.num_harmful)} "
            f"{'does' if data.num_harmful == 1 else 'do'} harm"
        )
    else:
        second = (
            f"{count(data.num_excluding_zero)} of {plural(data.num_heads, 'interval')} "
            f"{'excludes' if data.num_excluding_zero == 1 else 'exclude'} zero, not corrected for the number of heads"
        )
    shown = len(data.layer)
    rest = f"; the {count(shown)} with the largest effect are shown" if shown < data.num_heads else ""
    return f"{first} {second} ({plural(data.n, 'image')}){rest}."


def draw(data: HeadRanking) -> "Figure":
    """One row for each head: a dot with its interval, filled where the head matters, beside a line at zero."""
    rows = np.arange(len(data.layer))
    tall = ROW * max(len(rows), 3)
    value, low, high = data.loss
    with themed("ablation_ranking"):
        figure = new_figure(LEFT + WIDTH + 0.3, TOP + tall + 0.5)
        axes = place(figure, LEFT, TOP, WIDTH, tall)
        axes.axvline(0, color=COLOURS["muted"], linewidth=1, clip_on=False)
        colour = COLOURS["vit"]
        axes.plot(
            np.stack([low, high, np.full_like(low, np.nan)], axis=1).ravel(),
            np.repeat(rows, 3),
            color=colour,
            linewidth=1.4,
            clip_on=False,
        )
        known = data.loss[np.isfinite(data.loss)]
        ends = min(float(known.min()), 0.0), max(float(known.max()), 0.0)
        margin = 0.04 * (ends[1] - ends[0]) or 1.0
        axes.set_xlim(ends[0] - margin, ends[1] + margin)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        for chosen, fill in ((data.matters, colour), (~data.matters, COLOURS["paper"])):
            dots(axes, value[chosen], rows[chosen], size=4.4, fill=fill, edge=colour, edge_width=1.1)
        axes.set_yticks(rows, [_named(data, place_of) for place_of in rows.tolist()])
        axes.xaxis.set_major_locator(round_ticks(5))
        axes.grid(axis="x")
        bare(axes)
        axes.set_xlabel("rise in loss without the head (nats)", labelpad=2)
        _write_key(figure, data)
    return figure


def _named(data: HeadRanking, place_of: int) -> str:
    return f"layer {data.layer[place_of] + 1}, head {data.head[place_of] + 1}"


def _write_key(figure: "Figure", data: HeadRanking) -> None:
    width, height = figure.get_size_inches()
    top = 1 - 0.2 / height
    if not data.tested:
        figure.text(LEFT / width, top, "hollow: not tested", color=COLOURS["muted"])
        return
    figure.text(LEFT / width, top, "\N{BLACK CIRCLE} matters after correction", color=COLOURS["vit"])
    figure.text((LEFT + 1.85) / width, top, "hollow: not shown to matter", color=COLOURS["muted"])


def table(data: HeadRanking) -> DataTable:
    """One row per head, in the same order: the effect with its interval, the corrected p-value, the verdict."""
    rows = [
        (
            _named(data, place_of).capitalize(),
            " ".join((fixed(float(data.loss[0, place_of]), 3), _span(data, place_of))),
            p_value(p).removeprefix("= ") if np.isfinite(p) else NOT_KNOWN,
            data.verdict[place_of] or ("matters" if data.matters[place_of] else NOT_KNOWN),
        )
        for place_of, p in enumerate(data.p_corrected.tolist())
    ]
    return DataTable(("Head", "Rise in loss (nats)", "p, corrected", "Verdict"), tuple(rows))


def _span(data: HeadRanking, place_of: int) -> str:
    low, high = (fixed(float(end), 3) for end in data.loss[1:, place_of])
    return f"({low} to {high})"


ablation_ranking = figures.register("ablation_ranking")(
    Drawing(
        name="ablation_ranking",
        title="Which heads matter most?",
        explanation="Each head alone is silenced, so a head that others can stand in for looks less needed than it is; "
        "left of zero the model is surer of the right answer without it.",
        definition=f"{MEASURED}: {CHOSEN}",
        compute=compute,
        headline=headline,
        draw=draw,
        table=table,
        own_answers=Wording(
            explanation="Each head alone is silenced, so a head that others can stand in for looks less needed than it "
            "is; left of zero the model is surer of its own answer without it.",
            definition=f"{MEASURED}, both of the answer that the whole model gives, as there are no labels: {CHOSEN}",
        ),
    )
)
