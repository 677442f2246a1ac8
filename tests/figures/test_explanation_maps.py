"""Numbers of maps over an image, small enough to check by hand."""

from dataclasses import replace

import numpy as np
import pytest

from archaeology.explain import explanations
from archaeology.explain.method import title_of
from archaeology.figures import explanation_maps
from archaeology.figures._explained_image import MethodMap, meaning_of
from archaeology.figures.explanation_maps import LETTERS, across_of, ends_of


def test_values_stay_raw_and_a_map_without_evidence_has_none(explained):
    section = explanation_maps.compute(explained).sections[0]
    for panel, found in zip(section.panels, explained[0].maps, strict=True):
        if found.has_evidence:
            np.testing.assert_array_equal(panel.values, found.values)
        else:
            assert panel.values.size == 0 and panel.marks == []


def test_colours_end_at_the_largest_value_of_a_small_grid_and_before_lone_pixels_of_a_large_one():
    values = np.array([[0.1, -0.3], [0.2, 0.0]])
    assert ends_of(values) == (0.3, 0.3)
    large = np.zeros((20, 50))
    large.flat[:10] = np.arange(1.0, 11.0)  # of 1,000 places
    assert ends_of(large) == (6.0, 10.0)
    lone = np.zeros((20, 50))
    lone[3, 4] = -2.0
    assert ends_of(lone) == (2.0, 2.0)
    assert ends_of(np.zeros((0, 0))) == (0.0, 0.0)


def test_marks_are_bold_only_above_every_random_map(explained):
    rollout, shares, empty, strange, random = explanation_maps.compute(explained).sections[0].panels
    assert [mark.is_above_chance for mark in rollout.marks] == [True, True]
    assert [mark.is_above_chance for mark in shares.marks] == [True, False]
    assert [mark.text for mark in shares.marks] == [
        "deletion 0.90 (chance 0.50)",
        "insertion 0.50 (chance 0.60)",
    ]
    assert empty.marks == []
    assert strange.marks[1].text == "insertion \u2013 (chance 0.60)" and not strange.marks[1].is_above_chance
    assert random.title == "Random map"
    between = MethodMap("rollout", np.ones((1, 1)), marks={"insertion": 0.6})  # random ones got 0.5 and 0.7
    assert not explained[0].beats_chance(between, "insertion")
    assert not explained[1].beats_chance(between, "insertion")  # no random map was marked


def test_the_headline_counts_maps_that_beat_random_ones_without_random_and_empty_ones(explained):
    data = explanation_maps.compute(explained)
    assert (data.sections[0].num_better, data.sections[0].num_judged) == (1, 3)
    assert explanation_maps.headline(data) == (
        "Why cat (61\u202f%), asked of made-up vit: 1 of 3 maps beats every random map at deletion and insertion; "
        "why cat (2\u202f%), asked of made-up cnn: 2 maps."
    )


def test_a_class_that_is_not_the_answer_is_told_from_it(explained):
    section = explanation_maps.compute(explained).sections[1]
    assert section.answer.startswith("dog 20\u202f%, then axolotl") and section.asked == "cat (2\u202f%)"


def test_nothing_explained_gives_no_figure():
    assert explanation_maps.compute(()) is None


@pytest.mark.parametrize(
    ("counts", "across"), [([2], 2), ([5], 5), ([8], 4), ([8, 5], 5), ([9], 3), ([16], 4), ([1, 3], 3)]
)
def test_rows_leave_few_places_empty(counts, across):
    assert across_of(counts) == across


def test_a_map_without_evidence_is_not_drawn_but_says_so(explained):
    figure = explanation_maps.draw(explanation_maps.compute(explained[1:]))
    words = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert words == ["no positive evidence"]
    assert sum(len(axes.images) for axes in figure.axes) == 1 + 2 + 2 + 1  # photo; map and bar; grey alone


def test_a_signed_map_is_centred_at_zero_and_others_begin_there(explained):
    figure = explanation_maps.draw(explanation_maps.compute(explained[:1]))
    limits = [image.get_clim() for axes in figure.axes for image in axes.images]
    assert (0.0, 0.1) in limits
    shares = explanation_maps.compute(explained).sections[0].panels[1]
    assert (-shares.limit, shares.limit) in limits and shares.is_clipped


def test_words_are_found_for_every_method_and_fit():
    assert title_of("made_up_here") == "Made up here"
    for name in explanations:
        found = MethodMap(name, np.zeros((1, 1)), looks_at_class=explanations.get(name).looks_at_class)
        assert len(meaning_of(found)) <= LETTERS, name
    assert meaning_of(MethodMap("made_up_here", np.zeros((1, 1)), looks_at_class=False)) == "any class"


def test_an_image_that_is_taller_than_wide_keeps_its_shape(explained):
    figure = explanation_maps.draw(explanation_maps.compute(explained[:1]))
    width, height = figure.get_size_inches()
    box = figure.axes[0].get_position()
    assert box.height * height / (box.width * width) == pytest.approx(12 / 8)


def test_a_long_name_is_cut(explained):
    long = replace(explained[0], model="timm:" + 60 * "x")
    figure = explanation_maps.draw(explanation_maps.compute([long]))
    assert max(len(text.get_text()) for text in figure.texts if text.get_fontsize() == 7) < 150
