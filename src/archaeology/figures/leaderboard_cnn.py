"""Which map of the CNN to believe: the same judges as for the ViT."""

from typing import TYPE_CHECKING

from archaeology.dig.directory import RunDirectory
from archaeology.figures._leaderboard import Board, board, board_headline, board_table, draw_board
from archaeology.figures.drawing import Drawing, figures
from archaeology.figures.leaderboard_vit import DEFINITION

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def compute(run: RunDirectory) -> Board | None:
    """The CNN's leaderboard; None where the run has none."""
    return board(run, "cnn")


def headline(data: Board) -> str:
    """Which map to believe, or that none can be."""
    return board_headline(data)


def draw(data: Board) -> "Figure":
    """Methods down, judges across."""
    return draw_board(data, "leaderboard_cnn")


leaderboard_cnn = figures.register("leaderboard_cnn")(
    Drawing(
        name="leaderboard_cnn",
        title="Which map of the CNN to believe?",
        explanation="Read as the ViT's: on the upright line a map is no better than chance. Methods that follow "
        "attention cannot be asked about a network without it.",
        definition=DEFINITION,
        compute=compute,
        headline=headline,
        draw=draw,
        table=board_table,
    )
)
