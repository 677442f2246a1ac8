"""Attention before and after, against loops over captured patterns; and what is told of it, on made-up numbers."""

import json
from typing import Any

import numpy as np
import pytest
import torch
from tests.ablate import small_models as small
from tests.oracles import attention_shift as oracle
from tests.oracles import attention_statistics as statistics
from tests.robustness import models
from tests.robustness.test_matched_noise import moved

from archaeology.capture.record import capture
from archaeology.core.errors import UnknownNameError
from archaeology.core.seeding import content_names
from archaeology.robustness.attention_shift import attention_shift
from archaeology.robustness.matched_noise import matched_noise
from archaeology.robustness.shift_result import AttentionShift

NUM_IMAGES = 3


def pair(size=(6, 9)):
    clean = models.images(NUM_IMAGES, *size)
    return clean, moved(clean, 0.05)


def patterns(specimen, image):
    """`[layer][head][query][key]` of one image."""
    return [layer.pattern[0].tolist() for layer in capture(specimen, image[None]).attentions]


@pytest.mark.parametrize("class_token", [True, False])
def test_measures_of_heads_equal_loops(class_token):
    specimen = models.transformer(class_token)
    clean, attacked = pair()
    found = attention_shift(specimen, clean, attacked, at_once=2, seed=4)
    noisy = matched_noise(clean, attacked, content_names(clean), 4)
    prefix = int(class_token)
    assert found.heads == (3, 3) and found.attack.shape == (NUM_IMAGES, 2, 3, 4)
    for number in range(NUM_IMAGES):
        before = patterns(specimen, clean[number])
        for other, measured in ((attacked, found.attack), (noisy, found.noise)):
            after = patterns(specimen, other[number])
            for layer in range(2):
                for head in range(3):
                    old, new = before[layer][head], after[layer][head]
                    queries = range(prefix, prefix + 6)
                    shift = oracle.mean([oracle.jensen_shannon(old[query], new[query]) for query in queries])
                    read = [[oracle.mean(keys) for keys in zip(*rows, strict=True)] for rows in (old, new)]
                    if class_token:
                        read = [old[0], new[0]]
                    entropy, away = [], []
                    for query in queries:
                        entropy.append(statistics.entropy(new[query]) - statistics.entropy(old[query]))
                        far = [
                            statistics.distance(row[prefix:], query - prefix, 3, 3.0, 3.0)
                            for row in (old[query], new[query])
                        ]
                        away.append(far[1] - far[0])
                    wanted = [shift, oracle.jensen_shannon(*read), oracle.mean(entropy), oracle.mean(away)]
                    np.testing.assert_allclose(measured[number, layer, head], wanted, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("class_token", [True, False])
def test_measures_of_the_stream_equal_loops(class_token):
    specimen = models.transformer(class_token)
    clean, attacked = pair()
    found = attention_shift(specimen, clean, attacked)
    assert found.blocks == ("blocks.0", "blocks.1")
    assert found.stream_attack is not None
    for number in range(NUM_IMAGES):
        states = [
            capture(specimen, images[[number]], taps=found.blocks, patterns=False).activations
            for images in (clean, attacked)
        ]
        for layer, block in enumerate(found.blocks):
            before, after = (state[block][0] for state in states)
            read = (before[0], after[0]) if class_token else (before.mean(0), after.mean(0))
            wanted = [
                oracle.relative_change(before.flatten().tolist(), after.flatten().tolist()),
                oracle.relative_change(*(part.tolist() for part in read)),
            ]
            np.testing.assert_allclose(found.stream_attack[number, layer], wanted, rtol=1e-7)


def test_a_pair_gets_the_same_alone():
    specimen = models.transformer()
    clean, attacked = pair()
    together = attention_shift(specimen, clean, attacked)
    for number in range(NUM_IMAGES):
        alone = attention_shift(specimen, clean[[number]], attacked[[number]])
        for name in ("attack", "noise", "stream_attack", "stream_noise", "changed"):
            np.testing.assert_allclose(
                getattr(alone, name)[0], getattr(together, name)[number], rtol=1e-9, atol=1e-12
            )


def test_answers_that_changed_are_counted():
    specimen = models.transformer()
    clean, attacked = pair()
    attacked = moved(clean, 0.5)
    found = attention_shift(specimen, clean, attacked)
    noisy = matched_noise(clean, attacked, content_names(clean), 0)
    before = models.own_answers(specimen, clean)
    for column, images in enumerate((attacked, noisy)):
        assert found.changed[:, column].tolist() == (models.own_answers(specimen, images) != before).tolist()


@pytest.mark.parametrize("make", [small.swin, small.cait])
def test_windows_and_pools_are_measured_where_that_means_something(make):
    specimen = make()
    specimen.model.double()
    clean, attacked = pair(specimen.image_size)
    found = attention_shift(specimen, clean, attacked)
    there = np.arange(max(found.heads)) < np.array(found.heads)[:, None]
    assert np.isfinite(found.attack[:, there, 0]).all() and (found.attack[:, there, 0] > 0).all()
    assert np.isnan(found.attack[:, ~there]).all()
    of_readout = np.isfinite(found.attack[:, there, 1])
    assert not of_readout.any() if make is small.swin else of_readout.all()
    assert {row["measure"] for row in found.layer_table()} >= {"shift", "entropy"}
    json.dumps(found.describe(), allow_nan=False)


def test_windows_equal_loops():
    specimen = small.swin()
    specimen.model.double()
    clean, attacked = pair((8, 8))
    found = attention_shift(specimen, clean, attacked)
    for number in range(NUM_IMAGES):
        before, after = (capture(specimen, images[[number]]).attentions for images in (clean, attacked))
        for layer, (old, new) in enumerate(zip(before, after, strict=True)):
            for head in range(found.heads[layer]):
                rows = zip(
                    old.pattern[:, head].flatten(0, 1), new.pattern[:, head].flatten(0, 1), strict=True
                )
                shift = oracle.mean(
                    [oracle.jensen_shannon(one.tolist(), other.tolist()) for one, other in rows]
                )
                assert found.attack[number, layer, head, 0] == pytest.approx(shift, rel=1e-6)


def made_up(attack, noise, n=40):
    """Shifts of every layer around given means: `attack[layer]` and `noise[layer]`, two heads each."""
    generator = np.random.default_rng(0)

    def drawn(means):
        values = np.array(means)[None, :, None, None] + 0.01 * generator.standard_normal(
            (n, len(means), 2, 4)
        )
        return np.abs(values)

    modules = tuple(f"blocks.{layer}" for layer in range(len(attack)))
    changed = np.zeros((n, 2), dtype=bool)
    changed[:30, 0] = True
    return AttentionShift(
        modules, (2,) * len(attack), (), drawn(attack), drawn(noise), None, None, changed, 0
    )


def test_paths_part_at_the_first_layer_that_moves_more_than_noise():
    found = made_up([0.1, 0.1, 0.15, 0.4], [0.1, 0.12, 0.1, 0.1])
    assert found.parting() == 2
    assert found.parting(factor=2.0) == 3
    assert found.parting(factor=5.0) is None
    assert found.parting("stream") is None
    assert made_up([0.2, 0.1], [0.1, 0.1]).parting() == 0


def test_tables_hold_both_movements_and_their_paired_difference():
    found = made_up([0.1, 0.3], [0.1, 0.1])
    rows: dict[Any, Any] = {(row["layer"], row["measure"]): row for row in found.layer_table()}
    assert len(rows) == 8
    attack, noise = found.attack[:, 1, :, 0].mean(1), found.noise[:, 1, :, 0].mean(1)
    row = rows[1, "shift"]
    assert row["attack"] == pytest.approx(attack.mean()) and row["noise"] == pytest.approx(noise.mean())
    assert row["excess"] == pytest.approx((attack - noise).mean())
    assert row["excess_low"] > 0.19 and row["excess_high"] < 0.21 and row["p_corrected"] < 0.001
    assert row["ratio"] == pytest.approx(attack.sum() / noise.sum())
    assert rows[0, "shift"]["excess_low"] < 0 < rows[0, "shift"]["excess_high"]
    assert rows[1, "entropy"]["ratio"] is None
    heads = found.head_table()
    assert len(heads) == 2 * 2 * 4
    one = next(row for row in heads if (row["layer"], row["head"], row["measure"]) == (1, 1, "distance"))
    assert one["attack"] == pytest.approx(found.attack[:, 1, 1, 3].mean())
    told = json.loads(json.dumps(found.describe(), allow_nan=False))
    assert told["attack_changed"]["value"] == 0.75 and told["noise_changed"]["value"] == 0
    assert told["parting"] == {"shift": 1, "readout_shift": 1, "stream": None, "readout_stream": None}


def test_unknown_measures_are_named():
    found = made_up([0.1], [0.1])
    with pytest.raises(UnknownNameError, match="did you mean 'distance'"):
        found.by_layer("distanc")
    with pytest.raises(UnknownNameError, match="No measure that paths part by is called 'entropy'"):
        found.parting("entropy")


def test_bad_input_is_refused():
    specimen = models.transformer()
    clean, attacked = pair()
    with pytest.raises(
        ValueError, match="only a model with attention can be asked this, but network is convolutional"
    ):
        attention_shift(models.network(), clean, attacked)
    with pytest.raises(
        ValueError, match=r"must be the same images before and after.*\(3, 3, 6, 9\).*\(2, 3, 6, 9\)"
    ):
        attention_shift(specimen, clean, attacked[:2])
    with pytest.raises(ValueError, match="at least one"):
        attention_shift(specimen, clean[:0], attacked[:0])
    with pytest.raises(ValueError, match="2 were not, the first of them image 0"):
        attention_shift(specimen, clean, torch.cat([clean[:1], attacked[1:2], clean[2:]]))
    with pytest.raises(ValueError, match=r"images must lie in \[0, 1\]"):
        attention_shift(specimen, clean, attacked + 1)
    broken = models.transformer()
    with torch.no_grad():
        broken.model.get_parameter("head.bias")[0] = torch.nan
    with pytest.raises(ValueError, match="layer head of transformer returned NaN"):
        attention_shift(broken, clean, attacked)


def test_the_model_is_left_as_it_was():
    specimen = models.transformer()
    before = {name: tensor.clone() for name, tensor in specimen.model.state_dict().items()}
    state = torch.get_rng_state()
    attention_shift(specimen, *pair())
    assert torch.equal(state, torch.get_rng_state())
    assert all(
        parameter.requires_grad and parameter.grad is None for parameter in specimen.model.parameters()
    )
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in specimen.model.modules())
    assert all(torch.equal(tensor, before[name]) for name, tensor in specimen.model.state_dict().items())
