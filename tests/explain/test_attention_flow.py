"""Attention flow against a search over plain lists and against networkx, both in floating point."""

from dataclasses import replace

import networkx
import pytest
import torch
from tests.ablate import small_models as small
from tests.explain import gradient_records as made_of
from tests.explain.test_rollout import record
from tests.oracles import attention_flow as oracle

from archaeology.capture.record import CapturedPattern
from archaeology.explain import explain, explain_images
from archaeology.specimens.layout import TokenLayout


def sharp(made, power=6.0, narrow=1.0):
    """Rows that sum to one and differ much; with `narrow`, heads that leave most patches almost unseen."""
    layers = []
    for layer in made.attentions:
        pattern = layer.pattern**power
        pattern[..., 2:] *= narrow
        layers.append(replace(layer, pattern=pattern / pattern.sum(-1, keepdim=True)))
    return replace(made, attentions=tuple(layers))


def pipes_of(made, image, sent):
    """All pipes of one image, and a source that sends this much to each token."""
    pipes = oracle.capacities(
        [layer.pattern[image].tolist() for layer in made.attentions if layer.kind == "token"]
    )
    depth = max(layer for layer, _ in pipes)
    pipes["source"] = {(depth, token): amount for token, amount in enumerate(sent) if amount}
    return pipes


@pytest.mark.parametrize("readout", made_of.LAYOUTS)
def test_flow_to_every_patch(readout):
    layout = made_of.LAYOUTS[readout]
    made = sharp(record(layout))
    sent = [1.0] + [0.0] * 6
    if layout.readout == "mean":
        sent = [0.0] * layout.num_prefix + [1 / layout.num_patches] * layout.num_patches
    explanation = explain("attention_flow", made)
    for image in range(2):
        pipes = pipes_of(made, image, sent)
        wanted = [oracle.maximum_flow(pipes, "source", (0, token)) for token in range(layout.num_prefix, 7)]
        found = explanation.heatmap[image].flatten()
        torch.testing.assert_close(found, torch.tensor(wanted, dtype=torch.float64), rtol=0, atol=2e-8)
    assert (
        explanation.target is None and readout.split()[0] in explanation.formula.replace("_", " ") + readout
    )


@pytest.mark.parametrize("narrow", [1.0, 0.02])
def test_parity_with_networkx(narrow):
    made = sharp(record(layers=4), narrow=narrow)
    explanation = explain("attention_flow", made)
    pipes = pipes_of(made, 1, [1.0])
    graph = networkx.DiGraph()
    for start, ends in pipes.items():
        graph.add_weighted_edges_from(((start, end, width) for end, width in ends.items()), weight="capacity")
    wanted = [networkx.maximum_flow_value(graph, "source", (0, token)) for token in range(1, 7)]
    found = explanation.heatmap[1].flatten()
    torch.testing.assert_close(found, torch.tensor(wanted, dtype=torch.float64), rtol=0, atol=2e-8)


def test_what_the_first_layer_holds_back_is_told():
    made = sharp(record(layers=6), narrow=0.02)
    explanation = explain("attention_flow", made)
    into = made.attentions[0].pattern.mean(1).sum(1)[:, 1:] * 0.5 + 0.5  # each row of pipes sums to one
    held = (explanation.heatmap.flatten(1) - into).abs() < 1e-7
    torch.testing.assert_close(explanation.facts["at_first_layer"], held.double().mean(1))
    assert float(held.double().mean()) > 0.5


def test_tokens_that_look_only_at_themselves_let_nothing_through():
    blind = torch.eye(7, dtype=torch.float64).expand(1, 2, 7, 7)
    base = record(batch=1)
    made = replace(base, attentions=tuple(CapturedPattern(f"b{i}", "token", blind) for i in range(3)))
    explanation = explain("attention_flow", made)
    assert float(explanation.heatmap.abs().max()) == 0 and not explanation.has_evidence.any()


def test_attention_pool_sends_what_it_looks_at():
    pool = made_of.pool(7)
    base = sharp(record(TokenLayout(1, 7, (), "mean")))
    pool = replace(pool, pattern=pool.pattern / pool.pattern.sum(-1, keepdim=True))
    made = replace(base, attentions=(*base.attentions, pool))
    pipes = pipes_of(made, 1, pool.pattern[1].mean(0)[0].tolist())
    wanted = [oracle.maximum_flow(pipes, "source", (0, token)) for token in range(7)]
    found = explain("attention_flow", made).heatmap[1, 0]
    torch.testing.assert_close(found, torch.tensor(wanted, dtype=torch.float64), rtol=0, atol=2e-8)


def test_nan_in_one_image_stays_there():
    made = sharp(record())
    explanation = explain("attention_flow", made_of.with_nan(made))
    assert explanation.has_evidence.tolist() == [False, True]
    torch.testing.assert_close(
        explanation.heatmap[1], explain("attention_flow", made).heatmap[1], rtol=0, atol=0
    )


def test_class_token_that_joins_late():
    explanation = explain_images("attention_flow", small.cait(), small.images(2, 6, 6))
    assert explanation.heatmap.shape == (2, 2, 2) and explanation.has_evidence.all()
    assert "late class token" in explanation.formula


def test_errors_say_what_to_do():
    with pytest.raises(
        ValueError, match=r"most_seconds=1e-06.*6 flows through 3 layers of 7 x 7.*use rollout"
    ):
        explain("attention_flow", record(), most_seconds=1e-6)
    with pytest.raises(ValueError, match=r"attention_flow needs layers.*window.*use grad_cam"):
        explain_images("attention_flow", small.swin(), small.images(2, 8, 8))
