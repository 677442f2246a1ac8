"""How much attention goes to the class token instead of the image, layer by head."""

from typing import TYPE_CHECKING

from archaeology.dig.directory import RunDirectory
from archaeology.figures._matrix import HeadMatrix, draw_matrix, head_matrix, matrix_table, trend
from archaeology.figures.drawing import Drawing, figures

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def compute(run: RunDirectory) -> HeadMatrix | None:
    """Attention paid to the class token, in percent; None for a model without one."""
    return head_matrix(run, "class_token_mass", scale=100.0)


def headline(data: HeadMatrix) -> str:
    """Whether it grows or shrinks with depth."""
    return trend(data, "The attention paid to the class token", " %")


def draw(data: HeadMatrix) -> "Figure":
    """Layer by head, with the mean of each layer."""
    return draw_matrix(data, "class_token_mass", "attention on the class token (%)")


class_token_mass = figures.register("class_token_mass")(
    Drawing(
        name="class_token_mass",
        title="How much attention leaves the image?",
        explanation="The class token is not a part of the picture but the place where the model collects its "
        "answer; attention paid to it is attention that no patch gets.",
        definition="Attention weight on the class token, averaged over queries and images, in percent. "
        "95 % interval over images.",
        compute=compute,
        headline=headline,
        draw=draw,
        table=matrix_table,
    )
)
