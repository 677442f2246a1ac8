"""Where queries and keys are known, statistics come from scores, and say what they say of the model's own pattern."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.ablate import small_models as small

from archaeology.capture.attention import Attention, Factors
from archaeology.capture.edit import PatternEdit
from archaeology.capture.interceptor import intercepted
from archaeology.core.errors import UnknownNameError
from archaeology.stats import sum_heads, survey_heads
from archaeology.stats.entropy import entropy, entropy_of_scores
from archaeology.stats.survey import statistic_names


class Attends(torch.nn.Module):
    """One fused attention of what it is given."""

    def forward(self, query, key, value, **keywords):
        return F.scaled_dot_product_attention(query, key, value, **keywords)


def caught(*tensors, edit=None, materialise=False, **keywords):
    """What is known of the attention, seen while it happens."""
    model, seen = Attends(), []
    with intercepted(
        model,
        lambda attention: seen.append((attention.factors, attention.pattern())),
        edit=edit,
        materialise=materialise,
    ):
        model(*tensors, **keywords)
    return seen[0]


def normal(*shape, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape))).to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("scale", [None, 0.7])
def test_scores_of_factors_are_those_of_the_pattern(dtype, scale):
    tensors = (
        normal(2, 3, 5, 4, dtype=dtype),
        normal(2, 3, 7, 4, dtype=dtype),
        normal(2, 3, 7, 6, dtype=dtype),
    )
    factors, pattern = caught(*tensors, scale=scale)
    assert factors is not None and factors.query.shape == (2, 3, 5, 4) and factors.key.shape == (2, 3, 7, 4)
    for rows in (slice(0, 5), slice(2, 4)):
        torch.testing.assert_close(
            factors.scores(rows).softmax(-1), pattern[:, :, rows], rtol=1e-5, atol=1e-7
        )


def test_factors_repeat_keys_that_heads_share():
    query, key, value = normal(2, 6, 5, 4), normal(2, 3, 7, 4), normal(2, 3, 7, 8)
    factors, pattern = caught(query, key, value, enable_gqa=True)
    assert factors is not None and factors.key.shape == (2, 6, 7, 4)
    torch.testing.assert_close(factors.scores(slice(0, 5)).softmax(-1), pattern)


def test_no_factors_where_something_else_makes_the_pattern():
    tensors = normal(2, 3, 5, 4), normal(2, 3, 5, 4), normal(2, 3, 5, 4)
    assert caught(*tensors)[0] is not None
    assert caught(*tensors, attn_mask=torch.zeros(5, 5))[0] is None
    assert caught(*tensors, is_causal=True)[0] is None
    assert caught(*tensors, materialise=True)[0] is None
    assert caught(*tensors, edit=PatternEdit(0, torch.full((2, 3, 5, 5), 0.2)))[0] is None
    seen = []
    specimen = small.swin()
    with intercepted(specimen.model, lambda attention: seen.append(attention.factors)):
        specimen.predict(small.images(2, 8, 8))
    assert seen and not any(seen)


@settings(deadline=None, max_examples=40)
@given(
    shape=st.tuples(*[st.integers(1, top) for top in (3, 4, 6, 40, 20)]),
    sharpness=st.sampled_from([0.0, 1e-3, 1.0, 30.0, 300.0]),
    seed=st.integers(0, 99),
)
def test_entropy_of_scores_is_entropy_in_double_precision(shape, sharpness, seed):
    batch, heads, queries, keys, dim = shape
    generator = torch.Generator().manual_seed(seed)
    query = torch.randn(batch, heads, queries, dim, generator=generator) * sharpness / dim**0.5
    key = (
        torch.randn(batch, heads, keys, dim, generator=generator) + 2
    )  # common offset: scores are far from zero
    scores = Factors(query, key, 0.5).scores(slice(0, queries))
    pattern = scores.softmax(-1)
    found = entropy_of_scores(pattern, scores, pattern.amax(-1))
    assert (found >= 0).all()
    expected = entropy(scores.double().softmax(-1))
    torch.testing.assert_close(
        found.double(), expected, rtol=1e-5, atol=1e-6 * (1 + float(scores.abs().max()))
    )


@pytest.mark.parametrize("sharper", [0.1, 1.0, 20.0])
def test_survey_from_scores_equals_survey_from_patterns(monkeypatch, sharper):
    specimen, images = small.timm_vit(), small.images(4)
    for block in specimen.model.blocks:
        block.attn.qkv.weight.data[: 2 * block.attn.qkv.in_features] *= sharper
    mine = sum_heads(specimen, images)
    monkeypatch.setattr(Attention, "factors", None)
    theirs = sum_heads(specimen, images)
    np.testing.assert_allclose(mine.means(), theirs.means(), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(mine.count, theirs.count)


def test_pattern_of_a_model_with_fused_attention_is_never_asked_for(monkeypatch):
    def refuse(self, rows=None):
        raise AssertionError("the pattern was asked for")

    monkeypatch.setattr(Attention, "pattern", refuse)
    assert len(survey_heads(small.timm_vit(), small.images(2)).table()) == 9


def test_chosen_statistics_are_those_of_all_in_the_order_of_a_survey():
    specimen, images = small.timm_vit(), small.images(3)
    everything = survey_heads(specimen, images).table()
    for names in (["sink_mass"], ["gini", "entropy"], ["sink_mass", "distance", "distance"]):
        table = survey_heads(specimen, images, names=names).table()
        found = [name for name in table[0] if name in statistic_names()]
        assert found == [name for name in statistic_names() if name in names]
        assert [{key: row[key] for key in table[0]} for row in everything] == table


def test_what_no_chosen_statistic_needs_is_not_computed(monkeypatch):
    def refuse(*_):
        raise AssertionError("columns were added up")

    monkeypatch.setattr("archaeology.stats.survey.ColumnSums.add", refuse)
    survey_heads(small.timm_vit(), small.images(2), names=["entropy", "participation"])
    with pytest.raises(AssertionError, match="columns were added up"):
        survey_heads(small.timm_vit(), small.images(2), names=["sink_mass"])


def test_errors_of_chosen_statistics_say_what_to_do():
    specimen, images = small.timm_vit(), small.images(2)
    with pytest.raises(UnknownNameError, match="No statistic is called 'entropi'; did you mean 'entropy'"):
        survey_heads(specimen, images, names=["entropi"])
    with pytest.raises(ValueError, match=r"at least one of class_token_mass.*but got none"):
        survey_heads(specimen, images, names=[])
