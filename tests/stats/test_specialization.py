"""Every head gets the label of what it was made to do, and the figures behind it are those of the definitions."""

import numpy as np
import pytest
import torch
from tests.ablate import small_models as small
from tests.oracles import specialization as oracle
from tests.stats import known_heads

from archaeology.capture.record import capture
from archaeology.models import build
from archaeology.specimens.layout import TokenLayout
from archaeology.specimens.specimen import Specimen
from archaeology.stats import layer, survey_specialization
from archaeology.stats.position_share import group_of


def rows_by_name(heads, count=24, **given):
    images, boxes = known_heads.scenes(count)
    result = survey_specialization(known_heads.specimen(heads), images.split(7), boxes=boxes, **given)
    return dict(zip(heads, result.table(), strict=True)), result


@pytest.fixture(scope="module")
def known():
    return rows_by_name(tuple(known_heads.HEADS))


@pytest.mark.parametrize("name", known_heads.HEADS)
def test_a_head_gets_the_label_of_what_it_does(known, name):
    row = known[0][name]
    assert row["label"] == known_heads.HEADS[name]
    assert row["holds"][:1] == (() if row["label"] == "mixed" else (row["label"],))
    assert 0.5 < row["confidence"] <= 1
    if row["label"] not in ("mixed",):
        assert row["confidence"] > 0.75 and row["nearest"] == row["label"]


def test_alignments_are_what_the_heads_were_made_for(known):
    rows = known[0]
    assert rows["inside"]["object_alignment"] == pytest.approx(35 / 6, rel=1e-4)
    assert rows["everywhere"]["object_alignment"] == pytest.approx(1)
    assert np.isnan(rows["everywhere"]["edge_alignment"]) and np.isnan(rows["everywhere"]["colour_alignment"])
    assert rows["mirrored"]["position_share"] == pytest.approx(1)
    assert abs(rows["somewhere"]["position_share"]) < 0.05
    assert rows["edges"]["edge_alignment"] > 0.9 and rows["same colour"]["colour_alignment"] > 0.7


def test_too_few_images_give_no_label_and_no_confidence():
    rows, _ = rows_by_name(("inside", "edges"), count=1)
    assert [row["label"] for row in rows.values()] == ["mixed", "mixed"]
    assert [row["confidence"] for row in rows.values()] == [0, 0]


def test_typical_images_are_those_where_the_figure_is_most_extreme(known):
    images, _ = known_heads.scenes(24)
    names = [f"picture {number}" for number in range(24)]
    rows, _ = rows_by_name(("edges", "somewhere"), ids=names)
    for name, figure, sign in (("edges", "edge_alignment", 1), ("somewhere", "entropy", -1)):
        alone = [
            sign * survey_specialization(known_heads.specimen((name,)), images[i : i + 1]).table()[0][figure]
            for i in range(24)
        ]
        best = sorted(range(24), key=lambda i: (-alone[i], names[i]))[:5]
        assert set(rows[name]["typical"]) == {names[i] for i in best}
        assert rows[name]["typical_of"] == f"{'largest' if sign > 0 else 'smallest'} {figure}"


def random_vit(scale):
    """Weights as they are drawn, or sharpened, so that attention is not blind."""
    torch.manual_seed(0)
    arguments = {
        "image_size": 32,
        "patch_size": 4,
        "num_classes": 7,
        "embed_dim": 48,
        "depth": 4,
        "num_heads": 6,
    }
    model = build("vit", arguments)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(scale if parameter.ndim > 1 else 1)
    return Specimen("random", model.eval(), "transformer", (), (32, 32), layout=TokenLayout(8, 8, ("class",)))


@pytest.mark.parametrize(("scale", "expected"), [(1, "broad"), (3, "mixed"), (6, "mixed")])
def test_heads_of_a_random_model_are_broad_or_mixed(scale, expected):
    images, boxes = known_heads.scenes(16)
    labels = [row["label"] for row in survey_specialization(random_vit(scale), images, boxes=boxes).table()]
    assert len(labels) == 24
    assert labels.count(expected) >= 22


def test_figures_equal_their_definitions_in_loops():
    specimen, images = small.timm_vit(), small.images(5)
    boxes = torch.tensor([[1.0, 0, 5, 4], [0, 2, 9, 6], [2, 2, 3, 3], [torch.nan] * 4, [0, 0, 9, 6]])
    result = survey_specialization(specimen, images.split(2), boxes=boxes)
    record = capture(specimen, images)
    pixels = (images.double() / 255).tolist()
    table = result.table()
    for row in table:
        pattern = record.attentions[row["layer"]].pattern.double()[:, row["head"], 1:].tolist()
        edges = [
            oracle.correlation(oracle.received(rows, 1), oracle.edge_energy(image, 2, 3))
            for rows, image in zip(pattern, pixels, strict=True)
        ]
        colours = [
            oracle.colour_alignment(rows, oracle.patch_colours(image, 2, 3), 1)
            for rows, image in zip(pattern, pixels, strict=True)
        ]
        inside = [
            oracle.object_alignment(rows, oracle.inside_box(box, 6, 9, 2, 3), 1)
            for rows, box in zip(pattern[:3], boxes.tolist(), strict=False)
        ]
        flat = [[weight for line in rows for weight in line] for rows in pattern]
        groups = [group_of(str(number)) for number in range(5)]
        assert row["edge_alignment"] == pytest.approx(oracle.mean(edges), abs=1e-4)
        assert row["colour_alignment"] == pytest.approx(oracle.mean(colours), abs=1e-4)
        assert row["object_alignment"] == pytest.approx(oracle.mean(inside), rel=0.01)
        assert row["position_share"] == pytest.approx(oracle.position_share(flat), abs=1e-4)
        share, error = result.sums.position.shares()
        number = table.index(row)
        assert error[number] == pytest.approx(oracle.jackknife_error(flat, groups), rel=1e-3)
        assert share[number] == row["position_share"]


def test_agreement_equals_its_definition_in_loops():
    specimen, images = small.timm_vit(), small.images(5)
    result = survey_specialization(specimen, images)
    pattern = capture(specimen, images).attentions[2].pattern.double()[:, :, 1:].tolist()
    found = result.agreement(2)
    for one in range(3):
        for other in range(3):
            each = [oracle.agreement(image[one], image[other]) for image in pattern]
            assert found.value[one, other] == pytest.approx(oracle.mean(each), abs=1e-4)
            assert found.low[one, other] <= found.value[one, other] <= found.high[one, other]
    np.testing.assert_allclose(found.value.diagonal(), 1, atol=1e-6)
    with pytest.raises(ValueError, match="one of the 3 attention layers, numbered from 0, but got layer=3"):
        result.agreement(3)


def test_cuts_do_not_matter(monkeypatch):
    specimen, images = small.timm_vit(), small.images(9)
    whole = survey_specialization(specimen, images)
    monkeypatch.setattr(layer, "WEIGHTS_PER_CHUNK", 50)
    pieces = survey_specialization(specimen, images.split(4))
    for one, other in zip(whole.table(), pieces.table(), strict=True):
        for name, value in one.items():
            if isinstance(value, float):
                assert value == pytest.approx(other[name], rel=1e-3, abs=1e-5, nan_ok=True), name
            elif name != "typical":
                assert value == other[name]
    np.testing.assert_allclose(whole.agreement(1).value, pieces.agreement(1).value, atol=1e-5)


@pytest.mark.parametrize("make", [small.swin, small.cait], ids=["swin", "cait"])
def test_layers_without_places_have_figures_that_need_none(make):
    specimen = make()
    size = specimen.image_size
    result = survey_specialization(specimen, small.images(4, *size))
    windows = [row for row in result.table() if np.isnan(row["relative_distance"])]
    assert windows
    for row in windows:
        assert np.isfinite(row["participation"]) and np.isnan(row["edge_alignment"])
        assert np.isfinite(row["position_share"])
    heads = [row["head"] for row in result.table() if row["layer"] == 0]
    assert result.agreement(0).value.shape == (len(heads), len(heads))


def test_what_does_not_fit_is_refused():
    specimen, images = small.timm_vit(), small.images(4)
    with pytest.raises(ValueError, match="at least one batch of images, but got none"):
        survey_specialization(specimen, [])
    with pytest.raises(ValueError, match="at least one image in every batch"):
        survey_specialization(specimen, images[:0])
    for given in ({"boxes": torch.zeros(7, 4)}, {"ids": list("abcdefg")}):
        with pytest.raises(
            ValueError, match=f"{next(iter(given))} must be as many as images, but got 7 for 4"
        ):
            survey_specialization(specimen, images.split(2), **given)
    with pytest.raises(ValueError, match="ids must be as many as images, but got 3 for 4 images"):
        survey_specialization(specimen, images, ids=list("abc"))
    with pytest.raises(ValueError, match="boxes or masks must be as many as images, but got 3 for 4"):
        survey_specialization(specimen, images, boxes=torch.zeros(3, 4))
    blind = Specimen("blind", torch.nn.Flatten(), "other", (), (6, 9))
    with pytest.raises(RuntimeError, match="No softmax attention was seen in blind"):
        survey_specialization(blind, images)
    specimen.model.blocks[2].attn.qkv.bias.data[0] = torch.nan
    with pytest.raises(ValueError, match=r"blocks\.2\.attn gives NaN or infinity"):
        survey_specialization(specimen, images)
