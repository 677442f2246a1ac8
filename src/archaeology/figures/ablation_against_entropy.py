"""Do focused heads matter more? Every head as a point: how widely it looks, what its loss costs."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int
from scipy.stats import rankdata

from archaeology.core.names import plural
from archaeology.core.seeding import numpy_generator
from archaeology.dig.directory import RunDirectory
from archaeology.figures._matrix import matrix_of
from archaeology.figures._theme import (
    COLOURS,
    SEQUENTIAL,
    bare,
    colour_bar,
    dots,
    new_figure,
    place,
    round_ticks,
    themed,
)
from archaeology.figures.drawing import DataTable, Drawing, figures
from archaeology.figures.words import fixed, number

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RESAMPLES = 1000
FEWEST_HEADS = 8


@dataclass(frozen=True)
class EffectAgainstEntropy:
    """Two numbers of every head and how their ranks go together.

    Attributes:
        layer: Of each head, counted from 1.
        head: Within its layer, counted from 1.
        entropy: In nats.
        loss: Rise in loss without the head, in nats.
        correlation: Spearman's rank correlation over heads; NaN where all effects or all entropies are equal.
        low: Lower end of its 95 % interval (heads resampled).
        high: Upper end.
        depth: Number of layers.
        n: Images behind each effect.
    """

    layer: Int[np.ndarray, " point"]
    head: Int[np.ndarray, " point"]
    entropy: Float[np.ndarray, " point"]
    loss: Float[np.ndarray, " point"]
    correlation: float
    low: float
    high: float
    depth: int
    n: int


def compute(run: RunDirectory) -> EffectAgainstEntropy | None:
    """Entropy and effect of every head that has both; None where there are fewer than a handful."""
    entropy, loss = matrix_of(run, "entropy"), matrix_of(run, "ablation_loss")
    layer, head = np.nonzero(np.isfinite(entropy) & np.isfinite(loss))
    if len(layer) < FEWEST_HEADS:
        return None
    entropy, loss = entropy[layer, head], loss[layer, head]
    correlation = float(rank_correlation(entropy[None], loss[None])[0])
    low, high = _interval(entropy, loss) if np.isfinite(correlation) else (np.nan, np.nan)
    return EffectAgainstEntropy(
        layer=layer + 1,
        head=head + 1,
        entropy=entropy,
        loss=loss,
        correlation=correlation,
        low=float(low),
        high=float(high),
        depth=int(layer.max()) + 1,
        n=max(run.heads.column("ablation_n").to_pylist(), default=0),
    )


def _interval(entropy: Float[np.ndarray, " point"], loss: Float[np.ndarray, " point"]) -> tuple[float, float]:
    """Of the correlation, with heads resampled; draws without variation have none and are left out."""
    chosen = numpy_generator(0, "heads", len(loss)).integers(len(loss), size=(RESAMPLES, len(loss)))
    low, high = np.nanquantile(rank_correlation(entropy[chosen], loss[chosen]), [0.025, 0.975])
    return float(low), float(high)


def rank_correlation(
    first: Float[np.ndarray, "sample point"], second: Float[np.ndarray, "sample point"]
) -> Float[np.ndarray, " sample"]:
    """Spearman's rank correlation of every row; NaN where a row has no variation."""
    ranks = [rankdata(values, axis=1) for values in (first, second)]
    one, two = (rank - rank.mean(axis=1, keepdims=True) for rank in ranks)
    spread = np.sqrt((one**2).sum(axis=1) * (two**2).sum(axis=1))
    return np.divide((one * two).sum(axis=1), spread, out=np.full(len(spread), np.nan), where=spread > 0)


def headline(data: EffectAgainstEntropy) -> str:
    """Whether wide-looking heads matter more, less, or whether it cannot be told."""
    behind = f"{plural(len(data.loss), 'head')}, {plural(data.n, 'image')}"
    if not np.isfinite(data.correlation):
        equal = "effects" if np.ptp(data.loss) == 0 else "entropies"
        return f"Whether focused heads matter more cannot be measured: all {equal} are equal ({behind})."
    value, low, high = (fixed(end, 2) for end in (data.correlation, data.low, data.high))
    span = f"rank correlation {value}, 95 % interval {low} to {high}, {behind}"
    if data.low > 0:
        return f"Heads that look widely matter more than focused ones ({span})."
    if data.high < 0:
        return f"Focused heads matter more than those that look widely ({span})."
    return f"No relation is shown between how widely a head looks and how much it matters ({span})."


def draw(data: EffectAgainstEntropy) -> "Figure":
    """One point per head, coloured by its layer."""
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    with themed("ablation_against_entropy"):
        figure = new_figure(5.0, 3.75)
        axes = place(figure, 0.78, 0.12, 4.05, 2.55)
        axes.axhline(0, color=COLOURS["line"], linewidth=1)
        axes.plot(data.entropy, data.loss, linestyle="none", clip_on=False)  # nothing but the limits
        colours = colormaps[SEQUENTIAL]
        for layer in range(1, data.depth + 1):
            chosen = data.layer == layer
            colour = to_hex(colours((layer - 1) / max(data.depth - 1, 1)))
            dots(axes, data.entropy[chosen], data.loss[chosen], size=4.6, fill=colour, edge=COLOURS["muted"],
                 edge_width=0.6)  # fmt: skip
        axes.grid(axis="both")
        bare(axes)
        axes.yaxis.set_major_locator(round_ticks(5))
        axes.set_xlabel("entropy of the head (nats)")
        axes.set_ylabel("rise in loss without it (nats)")
        bar = place(figure, 0.78, 3.22, 1.8, 0.1)
        colour_bar(bar, SEQUENTIAL, 1.0, float(data.depth), "layer")
        bar.set_xticks([1, data.depth])
    return figure


def table(data: EffectAgainstEntropy) -> DataTable:
    """The ten heads that matter most."""
    first = np.argsort(-data.loss, kind="stable")[:10]
    rows = [
        (
            f"Layer {data.layer[i]}, head {data.head[i]}",
            number(float(data.entropy[i])),
            number(float(data.loss[i])),
        )
        for i in first
    ]
    return DataTable(("The ten heads that matter most", "Entropy (nats)", "Rise in loss (nats)"), tuple(rows))


ablation_against_entropy = figures.register("ablation_against_entropy")(
    Drawing(
        name="ablation_against_entropy",
        title="Do focused heads matter more?",
        explanation="If every head that looks at few patches were also one the model needs, the points "
        "would fall from the upper left to the lower right.",
        definition="Each point is one head; its colour is its layer. Spearman's rank correlation over all "
        "heads; 95 % interval from resampling heads.",
        compute=compute,
        headline=headline,
        draw=draw,
        table=table,
    )
)
