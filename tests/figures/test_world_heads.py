"""Figures of heads hold the truth: where they look and what they are worth, worked out again another way."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from archaeology.ablate.head_map import Layer
from archaeology.capture.interceptor import intercepted
from archaeology.core.storage import read_json, write_json, write_tensors
from archaeology.data.worlds.membership import token_membership
from archaeology.data.worlds.shapes2d import Shapes2D
from archaeology.data.worlds.shapes2d_scores import scores
from archaeology.figures import world_alignment, world_colour_rule
from archaeology.figures._world_heads import layer_name, run_with_heads
from archaeology.figures._world_source import WorldRun, WorldSource, found_runs
from archaeology.figures.words import fixed, percent
from archaeology.models import Attention1D
from archaeology.recipes.stream import FORMAT, TASK

COUNT = 11


@pytest.fixture(scope="module")
def source(world_runs):
    return WorldSource(found_runs(world_runs), count=COUNT)


@pytest.fixture(scope="module")
def aligned(source):
    return world_alignment.compute(source)


@pytest.fixture(scope="module")
def rule(source):
    return world_colour_rule.compute(source)


@pytest.fixture
def signal_run(tmp_path):
    """A small model of signals, not trained, with layers of three heads."""
    arguments = {"length": 500, "patch_size": 5, "embed_dim": 24, "depth": 2, "num_heads": 3}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        model = Attention1D(**arguments)
    described = {"recipe": "shapes1d_attention", "architecture": "attention1d", "arguments": arguments}
    write_json(tmp_path / "config.json", {"format": FORMAT, "task": TASK, **described, "facts": {"seed": 5}})
    write_tensors(tmp_path / "model.safetensors", model.state_dict())
    return found_runs(tmp_path)


@pytest.mark.parametrize(
    ("module", "kind", "short", "words"),
    [
        ("blocks.1.attn", "token", "layer 2", "layer 2"),
        ("encoder.0.attn", "token", "encoder 1", "encoder layer 1"),
        ("decoder.2.attn", "token", "decoder 3 self", "the self-attention of decoder layer 3"),
        ("decoder.0.cross", "cross", "decoder 1 cross", "the cross-attention of decoder layer 1"),
    ],
)
def test_layers_have_names(module, kind, short, words):
    name = layer_name(Layer(module, kind, 4))
    assert (name.short, name.words) == (short, words)


def test_the_best_whole_model_is_looked_into(world_runs, tmp_path):
    runs = found_runs(world_runs)
    best = run_with_heads(WorldSource(runs), "shapes2d")
    assert (best.recipe, best.seed) == ("shapes2d_encoder_decoder", 1)  # 0.2; others 0.225 and 0.25
    assert run_with_heads(WorldSource(runs), "shapes1d") is None

    half = tmp_path / "half"
    described = read_json(best.folder / "config.json")
    arguments = {**described["arguments"], "decoder_depth": 0}
    write_json(half / "config.json", {**described, "arguments": arguments})
    from archaeology.models import EncoderDecoder

    write_tensors(half / "model.safetensors", EncoderDecoder(**arguments).state_dict())
    write_json(half / "run.json", {"scores": {"colour_error": {"value": 0.01}}})
    (better,) = found_runs(half)
    assert run_with_heads(WorldSource((*runs, better)), "shapes2d") == best
    assert run_with_heads(WorldSource((better,)), "shapes2d") == better


def test_variants_are_looked_into_only_alone_and_other_mechanisms_never(signal_run):
    (plain,) = signal_run
    varied = WorldRun(plain.folder, "shapes1d_positions_none", "attention1d", 0)
    other = WorldRun(plain.folder, "shapes1d_mechanism_linear", "attention1d", 0)
    assert run_with_heads(WorldSource((other, varied, plain)), "shapes1d") == plain
    assert run_with_heads(WorldSource((other, varied)), "shapes1d") == varied
    assert run_with_heads(WorldSource((other,)), "shapes1d") is None


def test_alignment_is_mass_on_other_evidence_over_its_share(source, aligned):
    """Oracle: loops over samples, shapes and tokens."""
    found = aligned.worlds["shapes2d"]
    assert list(aligned.worlds) == ["shapes2d"]
    model = run_with_heads(source, "shapes2d").model
    batch = Shapes2D().generate(0, COUNT)
    patterns = []
    with torch.no_grad(), intercepted(model, lambda seen: patterns.append(seen.pattern().double())):
        model(batch.pair()[0])
    members = token_membership(batch.owner, batch.kind.shape[1], 16)
    assert found.aligned.value.shape == found.rise.value.shape == (3, 2)
    assert [layer.short for layer in found.layers] == ["encoder 1", "decoder 1 self", "decoder 1 cross"]
    for layer, head in np.ndindex(3, 2):
        part = whole = 0.0
        for b in range(COUNT):
            for shape in range(members.shape[1]):
                others = batch.evidence[b, shape].clone()
                others[shape] = False
                keys = members[b, others].any(dim=0) & ~members[b, shape]
                if members[b, shape].any():
                    looks = patterns[layer][b, head][members[b, shape]].mean(dim=0)
                    part += float(looks[keys].sum())
                    whole += float(keys.double().mean())
        assert found.aligned.value[layer, head] == pytest.approx(part / whole, rel=1e-4)
    assert (found.aligned.low <= found.aligned.value).all() and (
        found.aligned.value <= found.aligned.high
    ).all()


def test_cost_is_the_error_with_a_silenced_head_less_that_with_all(source, aligned):
    found = aligned.worlds["shapes2d"]
    model = run_with_heads(source, "shapes2d").model
    batch = Shapes2D().generate(0, COUNT)
    attention = model.decoder[0].cross
    heard = []

    def mean_of_second_head(module, inputs):
        """Before the heads are mixed: the second half of the channels is the second head's."""
        (heads,) = inputs
        half = heads.shape[-1] // 2
        heard.append(heads)
        rest = heads[..., half:]
        return (torch.cat([heads[..., :half], rest.mean(dim=0, keepdim=True).expand_as(rest)], dim=-1),)

    with torch.no_grad():
        before = scores(batch, model(batch.pair()[0]))["colour_error"].value
        handle = attention.proj.register_forward_pre_hook(mean_of_second_head)
        after = scores(batch, model(batch.pair()[0]))["colour_error"].value
        handle.remove()
    assert len(heard) == 1
    assert found.rise.value[2, 1] == pytest.approx(after - before, abs=2e-4)


def test_alignment_says_the_best_head_and_the_median(aligned):
    found = aligned.worlds["shapes2d"]
    assert found.aligned.value[found.best] == found.aligned.value.max()
    assert found.median == pytest.approx(float(np.median(found.rise.value)))
    assert found.above.value == pytest.approx(float(found.rise.value[found.best]) - found.median)
    assert found.num_samples == COUNT
    said = world_alignment.headline(aligned)
    assert f"head {found.best[1] + 1} of {found.layers[found.best[0]].words}" in said
    assert f"{fixed(float(found.rise.value[found.best]), 3)} to the colour error" in said
    assert f"(the median head {fixed(found.median, 3)})" in said
    rows = world_alignment.table(aligned).rows
    assert len(rows) == 6
    assert rows[5][0] == "shapes2d, decoder 1 cross, head 2"
    assert rows[5][1].startswith(f"{fixed(float(found.aligned.value[2, 1]), 3)} (")
    assert rows[5][2].startswith(f"{fixed(float(found.rise.value[2, 1]), 3)} (")


def test_both_worlds_stand_below_each_other(source, signal_run):
    both = WorldSource((*source.runs, *signal_run), count=5)
    data = world_alignment.compute(both)
    assert list(data.worlds) == ["shapes1d", "shapes2d"]
    assert data.worlds["shapes1d"].aligned.value.shape == (2, 3)
    assert world_alignment.headline(data).count("; ") == 1
    assert len(world_alignment.table(data).rows) == 12
    assert len(world_alignment.draw(data).axes) == 2 * 5


def test_the_answer_is_followed_across_zero(source, rule):
    """Oracle: one scene recoloured by hand; the mean over scenes is over each of them."""
    assert rule.levels == sorted(rule.levels) and min(rule.levels) < 0 < max(rule.levels)
    assert rule.drawn.value.shape == (len(rule.levels),)
    assert rule.attention.value.shape == (len(rule.levels), 3, 2)
    assert 0 < rule.num_scenes <= COUNT == rule.num_samples
    red = np.array(rule.levels) > 0
    step = rule.attention.value[red].mean(axis=0) - rule.attention.value[~red].mean(axis=0)
    np.testing.assert_allclose(rule.step.value, step, rtol=1e-9)
    sizes = [abs(rule.step.value[at]) for at in rule.most]
    assert len(sizes) == 4 and sizes == sorted(np.abs(step).ravel(), reverse=True)[:4]


def test_the_colour_rule_is_told_with_its_numbers(rule):
    said = world_colour_rule.headline(rule)
    below, above = rule.levels.index(-10), rule.levels.index(10)
    before, after = (percent(float(rule.drawn.value[place]), 0) for place in (below, above))
    assert f"from \N{MINUS SIGN}10 to +10, a filled circle goes from {before} to {after} painted" in said
    layer, head = rule.most[0]
    assert f"head {head + 1} of {rule.layers[layer].words}" in said
    assert ("gives it more attention" in said) == (rule.step.value[layer, head] >= 0)
    assert f"{fixed(float(rule.circle_colour.value.max()), 3)} to the colour error of the circles." in said
    assert f"at most {fixed(float(rule.decision.value.max()), 3)} to the error of this decision" in said
    rows = world_colour_rule.table(rule).rows
    assert len(rows) == len(rule.levels) + 6
    assert rows[0][1].startswith(fixed(float(rule.drawn.value[0]), 3))
    for place, found in enumerate((rule.step, rule.decision, rule.circle_colour, rule.other_colour)):
        assert rows[-1][2 + place].startswith(f"{fixed(float(found.value[2, 1]), 3)} (")


def test_a_rule_without_vanishing_circles_makes_no_claim_about_the_decision(rule):
    unknown = replace(rule.decision, value=np.full_like(rule.decision.value, math.nan))
    data = replace(rule, decision=unknown)
    said = world_colour_rule.headline(data)
    assert "decision" not in said and "nan" not in said.split()
    world_colour_rule.draw(data)


def test_without_a_fitting_run_there_is_no_figure(signal_run):
    assert world_alignment.compute(WorldSource()) is None
    assert world_colour_rule.compute(WorldSource(signal_run)) is None
