"""Lines of reading say what the numbers of two maps say, and a word only beyond its threshold."""

import numpy as np
import pytest

from archaeology.report import reading as rules
from archaeology.report.reading import (
    Look,
    Meeting,
    cover,
    look,
    meetings,
    overlap,
    reading,
    spread,
    sureness,
    together,
    where,
)
from archaeology.report.shown import Answer, ShownImage


def image(vit=0.9, cnn=0.6):
    answers = [Answer("cat", "", None, sure) for sure in (vit, cnn)]
    return ShownImage(0, "a.png", "cat", *answers, "none", 0.0, "")


def one_place(row, column, size=8):
    heat = np.zeros((size, size))
    heat[row, column] = 1.0
    return heat


def test_a_map_that_is_the_same_everywhere_has_the_shares_of_the_areas():
    for shape in ((8, 8), (3, 3), (5, 7)):
        place = look(np.full(shape, 0.3))
        assert (place.centre, place.edge, place.half_area) == pytest.approx((0.25, 0.4375, 0.5))


def test_middle_and_corner():
    middle, corner = look(one_place(4, 4)), look(one_place(0, 7))
    assert (middle.centre, middle.edge) == (1.0, 0.0) and (corner.centre, corner.edge) == (0.0, 1.0)
    assert middle.half_area == pytest.approx(1 / 128)


def test_maps_without_evidence_have_no_place():
    assert look(np.zeros((3, 3))) is None and look(np.full((3, 3), np.nan)) is None
    assert look(-np.ones((3, 3))) is None
    np.testing.assert_allclose(spread(np.array([[-1.0, 3.0]])), [[0, 1]])


def test_cover_is_the_area_of_the_middle():
    for count in (1, 3, 4, 7):
        assert cover(count, 0.5).mean() == pytest.approx(0.5)
    np.testing.assert_allclose(cover(4, 0.5), [0, 1, 1, 0])


def test_overlap_is_exact_between_grids():
    random = np.random.default_rng(0)
    one, other = (spread(random.random(shape)) for shape in ((3, 3), (7, 5)))
    fine = [np.kron(one, np.ones((35, 35))) / 35**2, np.kron(other, np.ones((15, 21))) / (15 * 21)]
    assert overlap(one, other) == pytest.approx(np.minimum(*fine).sum())
    assert overlap(one, one) == pytest.approx(1.0) and overlap(one, other) == pytest.approx(
        overlap(other, one)
    )
    assert overlap(one_place(0, 0), one_place(7, 7)) == 0.0


def test_what_two_maps_share_anyway_is_measured_on_other_images():
    spots = [(row, column) for row in range(4) for column in range(4)]
    maps = [spread(one_place(*spot, size=4) + 0.01) for spot in spots]
    found = meetings(maps, maps)
    assert all(one.share == pytest.approx(1) and one.above == 1.0 for one in found)
    assert meetings(maps, [None, *maps[1:]])[0] is None
    few = meetings(maps[:3], maps[:3])
    assert np.isnan(few[0].above) and meetings([], []) == []


@pytest.mark.parametrize(
    ("place", "said"),
    [
        (
            Look(0.30, 0.40, 0.27),
            "nowhere in particular (centre 30 %, edges 40 %, half of it on 27 % of the image)",
        ),
        (Look(0.38, 0.30, 0.27), "at the centre (centre 38 %, edges 30 %, half of it on 27 % of the image)"),
        (Look(0.05, 0.66, 0.27), "at the edges (centre 5 %, edges 66 %, half of it on 27 % of the image)"),
        (
            Look(0.80, 0.10, 0.15),
            "on a few places at the centre (centre 80 %, edges 10 %, half of it on 15 % of the image)",
        ),
        (Look(0.38, 0.30, 0.40), "all over the image (half of it on 40 % of the image)"),
    ],
)
def test_places_are_named_beyond_their_thresholds(place, said):
    assert where(place).replace("\N{NARROW NO-BREAK SPACE}", " ") == said


@pytest.mark.parametrize(
    ("above", "end"),
    [
        (0.95, "do: at the same places."), (0.94, "images do."), (0.05, "do: at different places."),
        (0.06, "images do."), (float("nan"), "overlap by 60 %."),
    ],
)  # fmt: skip
def test_overlap_is_called_something_beyond_its_thresholds(above, end):
    assert together(Meeting(0.6, above)).replace("\N{NARROW NO-BREAK SPACE}", " ").endswith(end)


@pytest.mark.parametrize(
    ("above", "against"),
    [
        (1.0, "more than all maps of different images do"),
        (0.998, "more than over 99 % of maps of different images do"),
        (0.5, "more than 50 % of maps of different images do"),
        (0.002, "more than fewer than 1 % of maps of different images do"),
        (0.0, "and no maps of different images overlap less"),
    ],
)
def test_all_and_none_are_said_only_where_they_are(above, against):
    said = together(Meeting(0.6, above)).replace("\N{NARROW NO-BREAK SPACE}", " ")
    assert said.startswith(f"They overlap by 60 %, {against}")


def test_one_is_called_surer_from_the_threshold_on():
    assert sureness(image(0.9, 0.7)) == "The ViT is surer by 20 points."
    assert sureness(image(0.5, 0.8)) == "The CNN is surer by 30 points."
    assert sureness(image(0.9, 0.71)) == "" and sureness(image(float("nan"), 0.7)) == ""


def test_the_line_says_what_is_missing():
    line = reading(image(0.5, 0.5), None, Look(0.3, 0.4, 0.27), None)
    assert line.startswith(
        "There is no map of the ViT to read. The CNN's map lies nowhere in particular (centre 30"
    )
    assert "overlap" not in line


def test_every_threshold_is_a_share_with_a_name():
    assert 0 < rules.FEW_PLACES < rules.ALL_OVER < 0.5 and rules.UNLIKE < 0.5 < rules.ALIKE < 1
    assert rules.FAVOURED > 1 and 0 < rules.SURER < 1
