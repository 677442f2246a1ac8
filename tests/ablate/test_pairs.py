"""Pairs against whole passes with both heads edited, and on a model where two heads are each other's understudy."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tests.ablate import planted
from tests.ablate import small_models as small

from archaeology.ablate import PairInteractions, pair_interactions
from archaeology.capture.edit import Edits, HeadEdit
from archaeology.capture.interceptor import intercepted


def loss_without(specimen, images, truth, places):
    """One whole pass with the heads' answers set to zero."""
    edits = {}
    for layer, head in places:
        edits.setdefault(layer, torch.zeros(len(images), 3, dtype=torch.bool))[:, head] = True
    edit = Edits(tuple(HeadEdit(layer, mask) for layer, mask in edits.items()))
    with torch.no_grad(), intercepted(specimen.model, None, edit=edit):
        logits = specimen.model(specimen.prepare(images))
    return F.cross_entropy(logits, truth, reduction="none").double().numpy()


def test_every_pair_equals_whole_passes_without_both():
    specimen, images = small.timm_vit(depth=2), small.images(4)
    truth = torch.arange(4) % small.CLASSES
    found = pair_interactions(specimen, images, truth, replacement="zero", batch_size=3)
    assert len(found.pairs) == 15 == len(set(found.pairs))
    with torch.no_grad():
        whole = F.cross_entropy(specimen.predict(images), truth, reduction="none").double().numpy()
    for number, (a, b) in enumerate(found.pairs):
        assert a < b
        for rise, places in ((found.first, [a]), (found.second, [b]), (found.both, [a, b])):
            expected = loss_without(specimen, images, truth, places) - whole
            np.testing.assert_allclose(rise[:, number], expected, rtol=5e-4, atol=5e-4)
    np.testing.assert_allclose(found.interaction, found.both - found.first - found.second)
    assert np.abs(found.interaction).max() > 0.1


def test_understudies_are_found_and_nobody_else():
    images, truth = planted.examples(40)
    found = pair_interactions(planted.specimen(), images, truth, replacement="zero")
    rows = {
        ((row["layer"], row["head"]), (row["other_layer"], row["other_head"])): row for row in found.table()
    }
    assert len(rows) == 10
    understudies = rows[planted.A, planted.B]
    assert understudies["first"] == understudies["second"] == pytest.approx(0, abs=1e-6)
    assert understudies["relation"] == "stand in for each other" and understudies["interaction_low"] > 1
    assert understudies["p_corrected"] < 0.05
    for places, row in rows.items():
        if planted.USELESS in places:
            assert row["relation"] == "not shown to interact"
            assert row["interaction"] == pytest.approx(0, abs=1e-6)


def test_a_budget_keeps_the_heads_that_cost_most():
    images, truth = planted.examples(8)
    found = pair_interactions(planted.specimen(), images, truth, replacement="zero", budget=2)
    assert found.pairs == ((planted.HELPER, planted.DECISIVE),)
    three = pair_interactions(
        planted.specimen(), images, truth, replacement="zero", heads=[planted.B, planted.A, planted.USELESS]
    )
    assert three.pairs == (
        (planted.A, planted.USELESS),
        (planted.A, planted.B),
        (planted.USELESS, planted.B),
    )


def test_relations_by_their_sign():
    noise = np.random.default_rng(0).normal(size=(30, 3)) * 0.01
    both = noise - noise.mean(0) + np.array([1.0, -1.0, 0.0])
    pair = ((0, 0), (0, 1))
    found = PairInteractions((pair,) * 3, 0 * both, 0 * both, both, "zero")
    assert [row["relation"] for row in found.table(correction="benjamini-hochberg")] == [
        "stand in for each other",
        "less than the sum",
        "not shown to interact",
    ]


def test_errors_say_what_to_do():
    images, truth = planted.examples(4)
    with pytest.raises(ValueError, match=r"at least two heads as \(layer, head\).* \(0, 9\) is none of the"):
        pair_interactions(planted.specimen(), images, truth, heads=[(0, 0), (0, 9)])
    with pytest.raises(ValueError, match=r"at least two heads as \(layer, head\)"):
        pair_interactions(planted.specimen(), images, truth, heads=[(0, 0)])
    with pytest.raises(ValueError, match=r"a budget of at least 1 .* budget=0 and 5 heads"):
        pair_interactions(planted.specimen(), images, truth, budget=0)
