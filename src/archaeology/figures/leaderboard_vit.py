"""Which map of the ViT to believe: methods of explanation before judges that none of them knows."""

from typing import TYPE_CHECKING

from archaeology.dig.directory import RunDirectory
from archaeology.figures._leaderboard import Board, board, board_headline, board_table, draw_board
from archaeology.figures.drawing import Drawing, figures

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DEFINITION = (
    "Mean over images of a method's mark less that of chance, with its 95 % interval (bootstrap over images); the "
    "table has a star where a one-sided test, corrected for all methods and judges (Bonferroni), lies above chance. "
    "Chance is the marks of a random map on the same image, or the object's share of the image where the object is "
    "known. Mean rank: over the judges that decide. A method fails the randomization check, and cannot win, if its map "
    "stays alike when all weights of the model are shuffled. All marks, "
    "those for simplicity too, are in explanations.parquet."
)


def compute(run: RunDirectory) -> Board | None:
    """The ViT's leaderboard; None where the run has none."""
    return board(run, "vit")


def headline(data: Board) -> str:
    """Which map to believe, or that none can be."""
    return board_headline(data)


def draw(data: Board) -> "Figure":
    """Methods down, judges across."""
    return draw_board(data, "leaderboard_vit")


leaderboard_vit = figures.register("leaderboard_vit")(
    Drawing(
        name="leaderboard_vit",
        title="Which map of the ViT to believe?",
        explanation="Each judge tests the maps against the model itself or against where the object is. A dot on the "
        "upright line is no better than chance, and far to the right is good; the random map in the last row shows "
        "what knowing nothing looks like.",
        definition=DEFINITION,
        compute=compute,
        headline=headline,
        draw=draw,
        table=board_table,
    )
)
