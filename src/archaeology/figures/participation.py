"""How many patches share the attention: mean participation ratio of every head."""

from typing import TYPE_CHECKING

from archaeology.dig.directory import RunDirectory
from archaeology.figures._matrix import HeadMatrix, draw_matrix, head_matrix, matrix_table, trend
from archaeology.figures.drawing import Drawing, figures

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def compute(run: RunDirectory) -> HeadMatrix | None:
    """Effective number of keys over their number, in percent."""
    return head_matrix(run, "participation", scale=100.0)


def headline(data: HeadMatrix) -> str:
    """Whether it grows or shrinks with depth."""
    return trend(data, "The share of keys that effectively take part", " %")


def draw(data: HeadMatrix) -> "Figure":
    """Layer by head, with the mean of each layer."""
    return draw_matrix(data, "participation", "keys that take part (%)")


participation = figures.register("participation")(
    Drawing(
        name="participation",
        title="How many patches share the attention?",
        explanation="If the attention were shared evenly by a few patches and by no others, this is how "
        "large a part of all patches they would be.",
        definition="Participation ratio: 1 / (number of keys \N{MULTIPLICATION SIGN} sum of squared "
        "weights), in percent; 100 % means all keys get the same. 95 % interval over images.",
        compute=compute,
        headline=headline,
        draw=draw,
        table=matrix_table,
    )
)
