"""A survey in pieces says what the statistics of whole captured patterns say, however the pieces are cut."""

import numpy as np
import pytest
import torch
from scipy import stats as distributions
from tests.ablate import small_models as small

from archaeology.capture.record import capture
from archaeology.specimens.layout import TokenLayout
from archaeology.specimens.specimen import Specimen
from archaeology.stats import (
    attention_distance,
    diagonal_mass,
    entropy,
    gini,
    largest_weight,
    layer,
    means,
    neighbour_mass,
    participation,
    patch_distances,
    patch_neighbours,
    sink_mass,
    sum_heads,
    survey,
    survey_heads,
)


def column(result, name):
    return np.array([row[name] for row in result.table()])


def per_image(pattern, function):
    """Mean over queries: `(image, head)`."""
    return function(pattern.double()).mean(-1).numpy()


def test_table_equals_statistics_of_whole_patterns():
    specimen, images = small.timm_vit(), small.images(5)
    result = survey_heads(specimen, images.split(2))
    record = capture(specimen, images)
    distances = patch_distances(specimen.layout, (3.0, 3.0))
    expected = {
        "entropy": entropy,
        "participation": participation,
        "largest_weight": largest_weight,
        "gini": gini,  # fewer patches than rows that are sampled, so all of them are
        "class_token_mass": lambda p: p[..., 0],
        "distance": lambda p: attention_distance(p[..., 1:], distances),
        "diagonal_mass": lambda p: diagonal_mass(p, torch.arange(1, 7)),
        "neighbour_mass": lambda p: neighbour_mass(p, patch_neighbours(specimen.layout), 1),
        "sink_mass": lambda p: sink_mass(p.mean(2), 0)[..., None],
    }
    assert set(expected) == set(survey.statistic_names())
    for name, function in expected.items():
        values = np.concatenate(
            [per_image(seen.pattern[:, :, 1:], function) for seen in record.attentions], axis=1
        )
        np.testing.assert_allclose(column(result, name), values.mean(0), rtol=1e-5)
        low, high = distributions.t.interval(0.95, 4, values.mean(0), values.std(0, ddof=1) / np.sqrt(5))
        np.testing.assert_allclose(column(result, f"{name}_low"), low, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(column(result, f"{name}_high"), high, rtol=1e-4, atol=1e-6)
    assert column(result, "n").tolist() == [5] * 9
    assert column(result, "layer").tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert column(result, "head").tolist() == [0, 1, 2] * 3
    assert result.table()[4]["module"] == "blocks.1.attn"


def test_cuts_do_not_matter(monkeypatch):
    specimen, images = small.timm_vit(), small.images(5)
    whole = survey_heads(specimen, images).table()
    seen = []
    rows_of = layer.LayerView.rows

    def spy(self, span):
        made = rows_of(self, span)
        seen.append(made.pattern.numel())
        return made

    monkeypatch.setattr(layer.LayerView, "rows", spy)
    monkeypatch.setattr(survey, "PIXELS_PER_PASS", 2 * 6 * 9)
    monkeypatch.setattr(layer, "WEIGHTS_PER_CHUNK", 100)
    pieces = survey_heads(specimen, [images[:1], images[1:]]).table()
    assert max(seen) <= 100
    for one, other in zip(whole, pieces, strict=True):
        for name in one.keys() - {"module"}:
            assert one[name] == pytest.approx(other[name], rel=1e-4, abs=1e-6)


def test_sums_of_chunks_add_up_and_each_image_counts_by_itself():
    specimen, images = small.timm_vit(), small.images(5)
    whole = sum_heads(specimen, images)
    chunks = sum_heads(specimen, images[:2]) + sum_heads(specimen, images[2:])
    np.testing.assert_allclose(chunks.mean, whole.mean, rtol=1e-5)
    alone = [sum_heads(specimen, images[index : index + 1]) for index in range(5)]
    np.testing.assert_allclose(np.mean([sums.mean for sums in alone], 0), whole.mean, rtol=1e-5)


def test_windows_are_part_of_their_image_and_have_no_places():
    specimen, images = small.swin(), small.images(3, 8, 8)
    result = survey_heads(specimen, images)
    record = capture(specimen, images)
    values = [
        entropy(seen.pattern.double()).unflatten(0, (3, -1)).mean((1, 3)).numpy()
        for seen in record.attentions
    ]
    assert [seen.kind for seen in record.attentions][:2] == ["window", "window"]
    np.testing.assert_allclose(column(result, "entropy"), np.concatenate(values, 1).mean(0), rtol=1e-5)
    assert np.isnan(column(result, "distance")).all()
    assert np.isnan(column(result, "distance_low")).all()
    assert np.isnan(column(result, "class_token_mass")).all()
    assert (
        np.isnan(column(result, "neighbour_mass")).all() and np.isnan(column(result, "diagonal_mass")).all()
    )
    sinks = [
        sink_mass(seen.pattern.double().mean(2)).unflatten(0, (3, -1)).mean(1).numpy()
        for seen in record.attentions
    ]
    np.testing.assert_allclose(column(result, "sink_mass"), np.concatenate(sinks, 1).mean(0), rtol=1e-5)


def test_class_token_that_joins_late_and_talking_heads():
    specimen, images = small.cait(), small.images(3, 6, 6)
    specimen.model.blocks[0].attn.proj_w.bias.data -= 1
    table = survey_heads(specimen, images).table()
    record = capture(specimen, images)
    distances = patch_distances(specimen.layout, (3.0, 3.0))
    first = record.attentions[0].pattern.double().clamp(min=0)  # talking heads may make weights negative
    assert float(record.attentions[0].pattern.min()) < 0
    for head in range(3):
        assert table[head]["distance"] == pytest.approx(
            float(attention_distance(first, distances)[:, head].nanmean(-1).nanmean()), rel=1e-4, nan_ok=True
        )
        assert np.isnan(table[head]["class_token_mass"])
    assert np.isfinite([table[head]["distance"] for head in range(3)]).any()
    pooled = record.attentions[-1].pattern.double()
    for head in range(3):
        row = table[len(table) - 3 + head]
        assert row["class_token_mass"] == pytest.approx(float(pooled[:, head, :, 0].mean()), rel=1e-4)
        assert np.isnan(row["distance"])  # one query, which is no patch
        assert np.isnan(row["sink_mass"])  # one query makes no sink


def test_sampled_rows_depend_on_the_seed_alone():
    specimen = small.timm_vit(layout=TokenLayout(2, 3, ("class",)))
    images = small.images(3)
    sampled_rows, means.SAMPLED_ROWS = means.SAMPLED_ROWS, 2
    try:
        one, again, other = (column(survey_heads(specimen, images, seed=seed), "gini") for seed in (3, 3, 4))
    finally:
        means.SAMPLED_ROWS = sampled_rows
    np.testing.assert_array_equal(one, again)
    assert (one != other).any()


def test_one_image_has_a_mean_and_no_interval():
    row = survey_heads(small.timm_vit(), small.images(1)).table()[0]
    assert row["n"] == 1 and np.isfinite(row["entropy"])
    assert np.isnan(row["entropy_low"]) and np.isnan(row["entropy_high"])


def test_errors_say_what_to_do():
    specimen = small.timm_vit()
    with pytest.raises(ValueError, match="at least one batch of images, but got none"):
        survey_heads(specimen, [])
    with pytest.raises(ValueError, match="at least one image in every batch"):
        survey_heads(specimen, small.images(2)[:0])
    broken = small.timm_vit()
    broken.model.blocks[1].attn.qkv.weight.data[0, 0] = torch.nan
    with pytest.raises(ValueError, match=r"must be finite.*blocks\.1\.attn gives NaN or infinity for 2 of 2"):
        survey_heads(broken, small.images(2))
    blind = Specimen("blind", torch.nn.Flatten(), "other", (), (6, 9))
    with pytest.raises(RuntimeError, match="No softmax attention was seen in blind"):
        survey_heads(blind, small.images(2))
