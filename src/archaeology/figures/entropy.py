"""Attention spreads out or narrows: mean entropy of every head, layer by head."""

from typing import TYPE_CHECKING

from archaeology.dig.directory import RunDirectory
from archaeology.figures._matrix import HeadMatrix, draw_matrix, head_matrix, matrix_table, trend
from archaeology.figures.drawing import Drawing, figures

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def compute(run: RunDirectory) -> HeadMatrix | None:
    """Entropy of each head in nats."""
    return head_matrix(run, "entropy")


def headline(data: HeadMatrix) -> str:
    """Whether it grows or shrinks with depth."""
    return trend(data, "The spread of attention", " nats")


def draw(data: HeadMatrix) -> "Figure":
    """Layer by head, with the mean of each layer."""
    return draw_matrix(data, "entropy", "entropy (nats)")


entropy = figures.register("entropy")(
    Drawing(
        name="entropy",
        title="How widely does a head look?",
        explanation="Low entropy means a head puts nearly all its attention on a few patches; high entropy "
        "means it looks everywhere alike.",
        definition="Entropy of the attention over keys, in nats, averaged over queries and images; it is 0 "
        "for one key and ln(number of keys) if all keys get the same. 95 % interval over images.",
        compute=compute,
        headline=headline,
        draw=draw,
        table=matrix_table,
    )
)
