"""Some heads look next door, some across the image: mean attention distance of every head."""

from typing import TYPE_CHECKING

from archaeology.dig.directory import RunDirectory
from archaeology.figures._matrix import HeadMatrix, draw_matrix, head_matrix, matrix_table, trend
from archaeology.figures.drawing import Drawing, figures

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def compute(run: RunDirectory) -> HeadMatrix | None:
    """Expected distance between a query patch and what it attends to, in pixels."""
    return head_matrix(run, "distance")


def headline(data: HeadMatrix) -> str:
    """Whether it grows or shrinks with depth."""
    return trend(data, "The distance that heads look", " pixels")


def draw(data: HeadMatrix) -> "Figure":
    """Layer by head, with the mean of each layer."""
    return draw_matrix(data, "distance", "distance (pixels)")


distance = figures.register("distance")(
    Drawing(
        name="distance",
        title="How far does a head look?",
        explanation="A small distance means a head compares a patch with its neighbours, as a convolution "
        "does; a large one means it gathers from the whole image.",
        definition="Expected distance between the centres of the query patch and the key patch under the "
        "attention, in pixels of the model's input; image tokens only, renormalised. 95 % interval over "
        "images.",
        compute=compute,
        headline=headline,
        draw=draw,
        table=matrix_table,
    )
)
