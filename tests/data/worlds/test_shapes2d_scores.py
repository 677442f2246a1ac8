"""Marks for redrawn scenes: perfect and useless answers get the marks they must, others by hand."""

import pytest
import torch

from archaeology.data.worlds import Ratio, Shapes2D, Shapes2DBatch
from archaeology.data.worlds.shapes2d_scores import scores


@pytest.fixture(scope="module")
def batch() -> Shapes2DBatch:
    return Shapes2D(seed=1).generate(0, 23)


def values(marks: dict[str, Ratio]) -> dict[str, float]:
    return {name: mark.value for name, mark in marks.items()}


def test_the_target_is_perfect(batch: Shapes2DBatch) -> None:
    assert values(scores(batch, batch.pair()[1])) == {
        "mse": 0,
        "colour_error": 0,
        "iou": 1,
        "vanish_precision": 1,
        "vanish_recall": 1,
    }


def test_the_input_averages_nothing(batch: Shapes2DBatch) -> None:
    marks = scores(batch, batch.pair()[0])
    assert marks["colour_error"].value == pytest.approx(1, abs=1e-6)
    assert marks["vanish_recall"].value == 0 and marks["vanish_precision"].whole.sum() == 0
    drawn = int((batch.input > 32).any(1).sum())
    wanted = int((batch.target > 32).any(1).sum())
    both = int(((batch.input > 32).any(1) & (batch.target > 32).any(1)).sum())
    assert marks["iou"].value == pytest.approx(both / (drawn + wanted - both))


def test_nothing_drawn(batch: Shapes2DBatch) -> None:
    marks = scores(batch, torch.zeros(23, 3, 128, 128))
    circles = int((batch.kind == 0).sum())
    gone = int(batch.vanishes.sum())
    assert 0 < gone < circles
    assert marks["vanish_recall"].value == 1
    assert marks["vanish_precision"].value == pytest.approx(gone / circles)
    assert marks["iou"].value == 0
    assert marks["mse"].value == pytest.approx(float((batch.target.double() / 255).square().mean()), rel=1e-5)


def test_colour_error_by_hand(batch: Shapes2DBatch) -> None:
    """Every shape a tenth too dark, counted shape by shape."""
    marks = scores(batch, batch.pair()[1] * 0.9)
    for b in range(len(batch)):
        part = whole = 0.0
        for kind, gone, painted, colour in zip(
            batch.kind[b].tolist(),
            batch.vanishes[b].tolist(),
            batch.painted[b].tolist(),
            batch.colour[b].tolist(),
            strict=True,
        ):
            if kind < 0 or gone:
                continue
            shown = [int(value + 0.5) / 255 for value in painted]
            part += sum(0.1 * value for value in shown) / 3
            whole += sum(abs(value - own / 255) for value, own in zip(shown, colour, strict=True)) / 3
        assert float(marks["colour_error"].part[b]) == pytest.approx(part, rel=1e-4)
        assert float(marks["colour_error"].whole[b]) == pytest.approx(whole, rel=1e-4)


@pytest.mark.parametrize(("strength", "gone"), [(0.4, True), (0.6, False)])
def test_a_circle_has_vanished_when_nearer_to_the_ground(strength: float, gone: bool) -> None:
    batch = Shapes2D(seed=1, circle_rule="none").generate(0, 40)
    alone = torch.where((batch.kind == 0).sum(1) == 1)[0]  # own colour and group colour are the same
    marks = scores(batch, batch.pair()[0] * strength)["vanish_precision"]
    assert len(alone) > 3
    assert (marks.whole[alone] == float(gone)).all()
    assert not marks.part.any()


def test_a_circle_painted_like_its_group_has_not_vanished() -> None:
    """Under keep_red a green circle in the mean of the red ones is there, however unlike itself."""
    batch = Shapes2D(seed=1).generate(0, 40)
    painted_alike = Shapes2D(seed=1, circle_rule="mean_of_red").generate(0, 40)
    marks = scores(batch, painted_alike.pair()[1])
    red = (batch.kind == 0) & ~batch.vanishes
    mixed = red.any(1) & batch.vanishes.any(1)
    assert mixed.any()
    assert not marks["vanish_recall"].part[mixed].any()
    assert not marks["vanish_precision"].whole[mixed].any()


def test_each_sample_alone_has_the_marks_it_has_in_the_batch(batch: Shapes2DBatch) -> None:
    prediction = torch.rand(23, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    together = scores(batch, prediction)
    for i in range(0, 23, 5):
        alone = scores(batch.part(i, i + 1), prediction[i : i + 1])
        for name, mark in together.items():
            torch.testing.assert_close(alone[name].part, mark.part[i : i + 1])
            torch.testing.assert_close(alone[name].whole, mark.whole[i : i + 1])
