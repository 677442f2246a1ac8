"""Figures of robustness: what their sentences say where numbers are clear, unclear or missing, on made-up documents."""

from copy import deepcopy
from types import SimpleNamespace

import numpy as np
import pytest

from archaeology.figures import figures
from archaeology.figures._robustness import (
    Ends,
    attack_text,
    ends_of,
    inked,
    interval_of,
    short_name,
    shortened,
    size_text,
    stacked,
    subjects_of,
)
from archaeology.figures._robustness_ink import key_rows, panel_places
from archaeology.report.robustness import ROBUSTNESS_FIGURES

VIT, CNN, THIRD = "bundled:vit_cifar10", "bundled:convnet_cifar10", "run:runs/vit_cifar10_robust"


@pytest.fixture
def document(attacked):
    """A copy that a test may change."""
    return deepcopy(attacked.robustness)


def computed(name, document):
    return figures.get(name).compute(SimpleNamespace(robustness=document))


def said(name, document):
    return figures.get(name).headline(computed(name, document)).replace("\u202f", " ")


def set_interval(row, key, value, low, high):
    row |= {key: value, f"{key}_low": low, f"{key}_high": high}


@pytest.mark.parametrize("name", ROBUSTNESS_FIGURES)
@pytest.mark.parametrize(
    "found", [None, {}, {"specimens": []}, {"curves": [], "transfer": {}, "attention": None}]
)
def test_without_a_part_there_is_no_figure(name, found):
    assert figures.get(name).compute(SimpleNamespace(robustness=found)) is None


def test_every_figure_of_robustness_is_in_the_chapter():
    found = {name for name in figures if "Attacked" in str(figures.get(name).compute.__annotations__)}
    assert found == set(ROBUSTNESS_FIGURES)


def test_models_keep_their_colours_and_get_short_names():
    found = subjects_of(
        {
            "specimens": [
                {"name": "timm:resnet50", "kind": "convolutional"},
                {"name": "run:a/vit", "kind": "transformer"},
                {"name": "run:b/vit", "kind": "transformer"},
                {"name": "torchvision:vgg", "kind": "convolutional"},
            ]
        },
        ["mixer", "run:a/vit"],
    )
    assert [one.colour for one in found.values()] == ["cnn", "vit", "third", "fourth", "fifth"]
    assert [one.title for one in found.values()] == ["resnet50", "run:a/vit", "run:b/vit", "vgg", "mixer"]


def test_numbers_sizes_and_names_in_words():
    assert Ends(12.34, 10.06, 14.0).text(1) == "12.3 (10.1 to 14.0)"
    assert Ends(1.0, np.nan, np.nan).text(1) == "1.0" and Ends(np.nan, np.nan, np.nan).text(1) == "\u2013"
    assert [
        Ends(*ends).side
        for ends in ((1.0, 0.1, 2.0), (-1.0, -2.0, -0.1), (1.0, 0.0, 2.0), (1.0, np.nan, 2.0))
    ] == [
        1,
        -1,
        0,
        0,
    ]
    assert Ends(2.0, 1.0, 5.0).turned(-1) == Ends(-2.0, -5.0, -1.0)
    assert size_text(8 / 255, "linf") == "8/255" and size_text(0.25 / 255, "linf") == "0.25/255"
    assert size_text(0.0, "linf") == "0" and size_text(0.5, "l2") == "0.5" and size_text(2.0, "l2") == "2"
    assert attack_text("pgd", "linf") == "PGD, L\u221e" and attack_text("my_attack") == "my attack"
    assert short_name("bundled:vit_cifar10") == "vit_cifar10" and short_name("run:a/b/") == "b"
    assert len(shortened("a" * 40 + "robust")) == 26 and shortened("a" * 40 + "robust").endswith("robust")
    assert shortened("convnet_cifar10_robust", 11) == "convn\u2026obust" and shortened("abc", 3) == "abc"
    assert inked("$x$") == r"\$x\$"
    assert np.isnan(ends_of({"a": 1.0, "a_low": None}, "a").low) and not interval_of(None).is_known
    np.testing.assert_array_equal(
        stacked([Ends(1.0, 2.0, 3.0), Ends(4.0, 5.0, 6.0)]), [[1, 4], [2, 5], [3, 6]]
    )


def test_keys_break_and_panels_lie_beside_each_other():
    assert key_rows(["a" * 10] * 5) == [[0, 1, 2, 3], [4]]
    assert key_rows(["a" * 100, "b"]) == [[0], [1]]
    boxes = panel_places(3, 2, top=1.0, tall=2.0, above=0.3, below=0.4)
    assert boxes[0][1] == boxes[1][1] == 1.3 and boxes[2][1] == pytest.approx(4.0)
    assert boxes[0][0] == boxes[2][0] < boxes[1][0] and boxes[0][2] == boxes[1][2]


def test_a_curve_has_a_winner_only_where_it_surely_leads_all_others(document):
    panel = document["curves"][0]
    for curve, area in zip(panel["curves"], (0.2, 0.5, 0.4), strict=True):
        set_interval(curve, "area", area, area - 0.01, area + 0.01)
    first, second, third = panel["areas"]  # vit-cnn, vit-third, cnn-third
    set_interval(first, "difference", -0.3, -0.4, -0.2)
    set_interval(second, "difference", -0.2, -0.3, -0.1)
    set_interval(third, "difference", 0.1, 0.02, 0.2)
    assert said("robustness_curve", document).startswith(
        "convnet_cifar10 withstands PGD, L\u221e longest: over changes up to 8/255 it is right on at most 50.0 % (95 % "
        "interval 49.0 to 51.0, 40 images) on average, 10.0 points (2.0 to 20.0) above vit_cifar10_robust. It is "
        "surely first under 1 of 2 attacks."
    )
    set_interval(third, "difference", 0.1, 0.0, 0.2)
    assert said("robustness_curve", document) == (
        "No model surely withstands PGD, L\u221e longest: convnet_cifar10 leads vit_cifar10_robust in mean accuracy "
        "over changes up to 8/255, but the interval includes zero (10.0 points, 95 % interval 0.0 to 20.0, 40 images)."
    )
    set_interval(third, "difference", 0.1, 0.1, 0.1)
    assert "but the interval has no width (10.0 points" in said("robustness_curve", document)
    set_interval(third, "difference", 0.1, 0.02, 0.2)
    panel["curves"][0]["n"] = 15
    assert "but fewer than 16 images show nothing for sure (10.0 points" in said("robustness_curve", document)
    panel["curves"][0]["n"] = 40
    panel["areas"] = []
    assert "(not compared, 40 images)" in said("robustness_curve", document)
    panel["curves"] = panel["curves"][:1]
    document["curves"] = [panel]
    assert said("robustness_curve", document) == (
        "Under PGD, L\u221e, vit_cifar10 is right on at most 20.0 % (95 % interval 19.0 to 21.0, 40 images) on average "
        "over changes up to 8/255."
    )


def test_a_median_may_be_open_or_out_of_reach(document):
    rows = dict(
        (row[0], row[1:])
        for row in figures.get("robustness_curve").table(computed("robustness_curve", document)).rows
    )
    assert rows["PGD, L\u221e: size that breaks half"] == ("1/255 (0.5/255 to 2/255)",) * 2 + (
        "fewer than half broken",
    )
    document["curves"][0]["curves"][0]["median_high"] = None
    table = figures.get("robustness_curve").table(computed("robustness_curve", document))
    assert "1/255 (0.5/255 to open)" in {cell for row in table.rows for cell in row}


def test_transfer_is_claimed_beyond_noise_only(document):
    found = document["transfer"]
    for row in found["table"]:
        if row["n"]:
            set_interval(row, "success", 0.5, 0.4, 0.6)
            set_interval(row, "noise", 0.1, 0.05, 0.2)
            set_interval(row, "beyond_noise", 0.1, -0.01, 0.2)
    assert said("transfer", document) == (
        "In none of 6 pairs of two models do changes up to 4/255 surely carry over beyond noise (0 to 40 "
        "images)."
    )
    there, back = found["table"][1], found["table"][3]
    assert (there["source"], there["target"]) == (VIT, CNN) == (back["target"], back["source"])
    set_interval(there, "beyond_noise", 0.4, 0.3, 0.5)
    assert said("transfer", document) == (
        "Changes up to 4/255 made against one model surely break another beyond what noise does in 1 of 6 pairs of two "
        "models; most from vit_cifar10 to convnet_cifar10: 50.0 % (95 % interval 40.0 to 60.0, 40 images) against 10.0 "
        "% by noise. It is a one-way street: beyond noise 40.0 points (30.0 to 50.0) from vit_cifar10 to "
        "convnet_cifar10, 10.0 (\u22121.0 to 20.0) the other way."
    )
    set_interval(back, "beyond_noise", 0.2, 0.1, 0.3)
    assert "one-way" not in said("transfer", document)
    data = computed("transfer", document)
    assert np.isnan(data.success[0, 2]) and data.cells[0][2].n == 0


def test_a_band_of_frequencies_is_the_worst_only_above_all_others(document):
    models = document["fourier"]["models"]
    text = said("fourier_sensitivity", document)
    assert text.endswith("Brackets hold 95 % intervals over 40 images.")
    assert "vit_cifar10 surely errs most under noise at 50 to 100 % of the finest frequency" in text
    assert "convnet_cifar10 surely errs most under noise at 0 to 25 %" in text
    assert "For vit_cifar10_robust no band of frequencies is surely the worst" in text
    models[VIT]["rings"][1]["error_high"] = 0.99
    assert "For vit_cifar10 no band" in said("fourier_sensitivity", document)


def test_a_map_of_frequencies_is_turned_by_half_around_its_middle(document):
    errors = document["fourier"]["models"][VIT]["errors"]  # 7 x 4
    for row in range(7):
        for column in range(4):
            errors[row][column] = (10 * row + column) / 100
    found = computed("fourier_sensitivity", document).maps[0].errors
    assert found.shape == (7, 7)
    np.testing.assert_allclose(found[:, 3:], 100 * np.array(errors))
    for down in range(7):
        for right in range(1, 4):
            assert found[down, 3 - right] == pytest.approx(found[6 - down, 3 + right])


def test_filters_say_what_is_surely_lost(document):
    there = {
        (row["specimen"], row["kind"]): row for row in document["passes"]["table"] if row["cutoff"] == 0.5
    }
    for (name, kind), ends in zip(
        ((VIT, "low"), (VIT, "high"), (CNN, "low"), (CNN, "high")),
        ((0.2, 0.1, 0.3), (0.0, -0.1, 0.1), (-0.2, -0.3, -0.1), (0.5, 0.4, 0.6)),
        strict=True,
    ):
        set_interval(there[name, kind], "lost", *ends)
    assert said("frequency_passes", document).startswith(
        "Cut at 50 % of the finest frequency (40 images, 95 % intervals): vit_cifar10 loses 20.0 points (10.0 to 30.0) "
        "without fine patterns and is not shown to lose anything (\u221210.0 to 10.0 points) without coarse ones; "
        "convnet_cifar10 gains 20.0 points (10.0 to 30.0) without fine patterns and loses 50.0 points (40.0 to 60.0) "
        "without coarse ones;"
    )


def test_a_spectrum_exceeds_white_noise_only_with_its_interval(document):
    rings = document["spectrum"][VIT]["rings"]
    for ring in rings:
        set_interval(ring, "share", 0.9 * ring["white"], 0.8 * ring["white"], 0.95 * ring["white"])
    set_interval(rings[1], "share", 0.3, 0.15, 0.45)
    text = said("perturbation_spectrum", document)
    assert text.startswith(
        "Changes against vit_cifar10 are nowhere surely stronger than white noise (2.0 times at most"
    )
    set_interval(rings[1], "share", 0.3, 0.225, 0.375)
    assert said("perturbation_spectrum", document).startswith(
        "Changes against vit_cifar10 are strongest at 25 to 50 % of the finest frequency: 2.0 times as strong as white "
        "noise (95 % interval 1.5 to 2.5, 40 images)."
    )


def test_corruptions_are_kept_by_family_and_compared_with_the_reference(document):
    data = computed("corruptions", document)
    assert data.kinds == ("gaussian noise", "fog", "frost", "motion blur")
    assert data.families == ("noise", "weather", "weather", "blur")
    rows = [
        row
        for row in document["corruptions"]["table"]
        if (row["specimen"], row["corruption"]) == (CNN, "fog")
    ]
    wrong = [100 * (1 - row["accuracy"]) for row in rows]
    np.testing.assert_allclose(data.lines[1].cells[1], wrong)
    np.testing.assert_allclose(data.lines[1].by_kind[0, 1], np.mean(wrong))
    models = document["corruptions"]["models"]
    own = next(row for row in models[CNN]["by_kind"] if row["corruption"] == "fog")
    np.testing.assert_allclose(
        data.lines[1].by_kind[:, 1], [100 * own[f"error{end}"] for end in ("", "_low", "_high")]
    )
    older = deepcopy(document)
    del older["corruptions"]["models"][CNN]["by_kind"]
    line = computed("corruptions", older).lines[1]
    np.testing.assert_allclose(
        line.by_kind[1, 1], np.mean([100 * (1 - row["accuracy_high"]) for row in rows])
    )
    set_interval(models[CNN], "difference", 0.25, 0.2, 0.3)
    set_interval(models[THIRD], "difference", -0.02, -0.05, 0.01)
    text = said("corruptions", document)
    assert "convnet_cifar10 surely errs more than vit_cifar10, by 25.0 points (20.0 to 30.0)" in text
    assert "vit_cifar10_robust and vit_cifar10 cannot be told apart (\u22125.0 to 1.0 points)" in text
    assert "Hardest for convnet_cifar10: gaussian noise, 94.0 % wrong" in text
    set_interval(models[CNN], "mean_error", 0.6, 0.3, 0.99)
    set_interval(models[THIRD], "difference", -0.02, -0.05, -0.01)
    text = said("corruptions", document)
    assert "Hardest for convnet" not in text
    assert "vit_cifar10_robust surely errs less than vit_cifar10, by 2.0 points (1.0 to 5.0)" in text


def test_patches_say_who_loses_less_where_that_is_sure(document):
    found = document["patches"]
    half = [row for row in found["differences"] if (row["kind"], row["level"]) == ("drop_random", 0.5)]
    for row in half:
        set_interval(row, "lost_difference", -0.1, -0.2, 0.0)
    assert said("patch_drop", document).endswith(
        "Which model loses less cannot be told: all intervals of differences include zero."
    )
    set_interval(half[2], "lost_difference", 0.1, 0.05, 0.2)
    assert said("patch_drop", document).endswith(
        "vit_cifar10_robust surely loses less than convnet_cifar10, by 10.0 points (5.0 to 20.0)."
    )
    for row in found["table"]:
        if (row["kind"], row["level"]) == ("drop_random", 0.5):
            set_interval(row, "lost", 0.2, 0.1, 0.3)
    assert said("patch_drop", document).startswith(
        "Without 50 % of patches (at random, 40 images) vit_cifar10 loses 20.0 points of accuracy (95 % interval 10.0 "
        "to 30.0), convnet_cifar10 20.0 (10.0 to 30.0), vit_cifar10_robust 20.0 (10.0 to 30.0)."
    )
    data = computed("patch_drop", document)
    assert data.explanations[1] == "Grad-CAM for convnet_cifar10"
    assert [panel.kind for panel in data.panels] == ["drop_random", "drop_salient", "drop_least_salient"]
    np.testing.assert_array_equal(data.panels[0].shares, [0, 25, 50, 75])
    names = {row[0].replace("\u202f", " ") for row in figures.get("patch_drop").table(data).rows}
    assert {"nothing", "2 by 2 pieces shuffled", "25 % of the area covered, in the middle"} <= names


def test_paths_part_where_the_survey_says_so(document):
    text = said("attention_shift", document)
    assert (
        "In vit_cifar10 the paths part at layer 4 of 5" in text
        and "(4.0 times, 95 % interval 3.6 to 4.6" in text
    )
    assert "In vit_cifar10_robust no layer's attention surely moves more than 2 times" in text
    document["attention"][VIT]["layers"] = [
        row for row in document["attention"][VIT]["layers"] if row["measure"] != "shift"
    ]
    assert "In vit_cifar10 the movement of attention is not defined (23 images)." in said(
        "attention_shift", document
    )


def test_a_model_is_safer_only_where_that_is_sure_and_special_only_beyond_other_heads(document):
    document["reattack"] = {VIT: document["reattack"][VIT]}
    found = document["reattack"][VIT]
    row = next(row for row in found["table"] if row["what"] == "robust")
    for key, value in (("whole", 0.1), ("without", 0.4), ("others", 0.2)):
        set_interval(row, key, value, value - 0.05, value + 0.05)
    set_interval(row, "without_minus_whole", 0.3, 0.2, 0.4)
    set_interval(row, "without_minus_others", 0.2, 0.1, 0.3)
    row |= {"p_whole_corrected": 0.01, "p_others_corrected": 0.01}
    begin = "Without the 2 heads that carry most of the attack, vit_cifar10"
    numbers = (
        "attacked anew, 40.0 % of 40 images withstand instead of 10.0 % (difference 30.0 points, 95 % interval 20.0 to "
        "40.0)"
    )
    assert said("reattack", document) == (
        f"{begin} surely withstands more: {numbers}, surely more than without as many others (20.0 points, 10.0 to "
        "30.0)."
    )
    row["p_others_corrected"] = 0.05
    assert said("reattack", document).endswith(
        "but taking as many others out does not surely differ (20.0 points, 10.0 to 30.0)."
    )
    row["p_whole_corrected"] = 0.05
    assert said("reattack", document) == f"{begin} is not surely safer: {numbers}."
    row["p_whole_corrected"] = 0.01
    found["n"] = 15
    assert "is not surely safer" in said("reattack", document)
    found["n"] = 40
    set_interval(row, "without_minus_whole", -0.3, -0.4, -0.2)
    assert "surely withstands less" in said("reattack", document)


def test_carriers_are_ranked_by_what_they_rescue_and_named_only_if_they_surely_help(document):
    heads = document["carriers"][VIT]["heads"]
    for row in heads:
        row |= {"p_corrected": 0.01, "recovered": 0.2}
        set_interval(row, "rescued", 0.1 * (row["layer"] + 1) + 0.01 * row["head"], 0.05, 0.5)
    heads[-1]["p_corrected"] = 0.05
    data = computed("attack_carriers", document).models[0]
    assert data.places[:3] == ((2, 1), (2, 0), (1, 1))
    assert data.helps.tolist() == [False, True, True, True, True, True]
    assert said("attack_carriers", document) == (
        "In vit_cifar10, putting head 1 of layer 3 right rescues 30.0 % of 23 images (95 % interval 5.0 to 50.0), the "
        "most of heads that surely help: 5 of 6 heads, corrected for all."
    )
    for row in heads:
        row["recovered"] = -0.1
    assert said("attack_carriers", document) == (
        "In vit_cifar10 no single head surely brings anything of the lost margin back (6 heads, 23 images)."
    )
    document["carriers"] = {VIT: {"carriers": document["carriers"][VIT], "reattack": {}}}
    assert len(computed("attack_carriers", document).models[0].places) == 6


def test_shape_is_claimed_on_the_side_where_the_interval_lies(document):
    plain = {row["specimen"]: row for row in document["shape"]["table"] if row["cutoff"] is None}
    for name, ends in ((VIT, (0.6, 0.5, 0.7)), (CNN, (0.2, 0.1, 0.3)), (THIRD, (0.9, 0.8, 0.95))):
        set_interval(plain[name], "shape_share", *ends)
    for row in document["shape"]["differences"]:
        set_interval(row, "difference", -0.4, -0.5, 0.3)
    assert said("shape_share", document) == (
        "vit_cifar10 goes neither surely by outlines nor by texture: by outlines in 60.0 % of 40 decisions (95 % "
        "interval 50.0 to 70.0); convnet_cifar10 goes by texture: by outlines in 20.0 % of 40 decisions (95 % interval "
        "10.0 to 30.0); vit_cifar10_robust goes by outlines: 90.0 % of 40 decisions (95 % interval 80.0 to 95.0); no "
        "two models surely differ."
    )
    document["shape"]["kind"] = "cue_conflict"
    set_interval(document["shape"]["differences"][0], "difference", -0.4, -0.5, -0.3)
    assert said("shape_share", document).endswith(
        "convnet_cifar10 surely goes by shape more often than vit_cifar10, by 40.0 points (30.0 to 50.0)."
    )
    set_interval(plain[CNN], "shape_share", None, None, None)
    assert "convnet_cifar10 never named shape or texture" in said("shape_share", document)


def test_pictures_come_back_as_they_were_written(document):
    data = computed("attacked_images", document)
    first = data.images[0]
    assert first.image.shape == (6, 8, 3) and first.map_before.shape == (3, 4)
    assert np.abs(first.image.astype(int) // 2 - first.adversarial.astype(int)).max() == 0
    assert first.limit == max(first.map_before.max(), first.map_after.max())
    assert said("attacked_images", document) == (
        "Examples, not statistics: 2 images of vit_cifar10, convnet_cifar10 that PGD, L\u221e, 4/255 turned, such as "
        "image 00007.png, ship before and aeroplane with long name after; the change is drawn 32 times as large as it "
        "is."
    )
    document["pictures"]["images"][1]["amplified"] = 1200.0
    assert said("attacked_images", document).endswith("drawn 32 to 1,200 times as large as it is.")


def test_large_pictures_are_made_small_and_maps_may_be_empty(document, made_up_survey):
    from archaeology.figures.attacked_images import pixels_of

    large = np.zeros((400, 640, 3), dtype=np.uint8)
    large[::2] = 200  # stripes: averaged in a picture, picked out in noise
    png = made_up_survey.png(large)
    assert pixels_of(png).shape == (100, 160, 3)
    assert set(np.unique(pixels_of(png))) == {100} and set(np.unique(pixels_of(png, is_noise=True))) <= {
        0,
        200,
    }
    row = document["pictures"]["images"][0]
    row |= {"map_before": [[0.0, None]], "map_after": [[None, 0.0]]}
    data = computed("attacked_images", document)
    assert data.images[0].limit == 0.0
    figures.get("attacked_images").draw(data)


@pytest.mark.parametrize("name", ROBUSTNESS_FIGURES)
def test_names_cannot_become_formulas(name, made_up_survey):
    from archaeology.figures import svg_text

    found = made_up_survey.made_up_document(vit="run:a$b_{c$", cnn="<script>")
    drawing = figures.get(name)
    data = drawing.compute(SimpleNamespace(robustness=found))
    written = svg_text(drawing.draw(data), name, drawing.title)
    assert "<script>" not in written
    assert "a$b_{c$" in written or "&lt;script&gt;" in written


def alone(document, name):
    """The document of a survey of this model only."""

    def kept(value):
        if isinstance(value, dict):
            return {key: kept(one) for key, one in value.items() if key not in {VIT, CNN, THIRD} - {name}}
        if isinstance(value, list):
            gone = {VIT, CNN, THIRD} - {name}
            rows = [one for one in value if not (isinstance(one, str) and one in gone)]
            return [kept(one) for one in rows if not (isinstance(one, dict) and gone & _strings(one))]
        return value

    return kept(document) | {"transfer": None, "specimens": document["specimens"]}


def _strings(row):
    return {value for value in row.values() if isinstance(value, str)}


@pytest.mark.parametrize("name", [one for one in ROBUSTNESS_FIGURES if one != "transfer"])
def test_a_survey_of_one_model_has_its_figures(name, document):
    only = alone(document, VIT)
    only["corruptions"] |= {"reference": VIT}
    only["patches"]["explanations"] = only["patches"]["explanations"][:1]
    drawing = figures.get(name)
    data = drawing.compute(SimpleNamespace(robustness=only))
    assert "vit_cifar10" in drawing.headline(data) and "convnet" not in drawing.headline(data)
    assert drawing.table(data).rows
    drawing.draw(data)
    assert computed("transfer", only) is None
