"""Figures of the worlds hold the truth: every number is followed from its definition, and no random state moves."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from archaeology.data.worlds.shapes2d import Shapes2D
from archaeology.data.worlds.shapes2d_scores import scores
from archaeology.figures import (
    world_cross_patch,
    world_curves,
    world_masks,
    world_positions,
    world_predictions,
    world_shapes1d,
    world_shapes2d,
    world_tokens,
)
from archaeology.figures._world_source import WorldRun, WorldSource, found_runs
from archaeology.figures.words import number
from archaeology.figures.world_positions import CELL, GRID, HEAD_DIM, NUM_HEADS, PLACES, nearness
from archaeology.figures.world_predictions import kinds_of_models
from archaeology.figures.world_self_and_cross import group_mass

NOTHING = WorldSource()


def test_positions_are_those_of_the_layers():
    state = torch.get_rng_state()
    maps = {found.name: found for found in world_positions.compute(NOTHING).maps}
    assert torch.equal(torch.get_rng_state(), state)
    assert set(maps) == {"sinusoidal", "learnable", "linear", "rotary", "alibi", "relative_bias"}
    for name, found in maps.items():
        if found.way != "biased":
            assert found.match.diagonal().mean() == pytest.approx(1), name
            np.testing.assert_allclose(found.match, found.match.T, atol=1e-12)
            assert found.on_grid.argmax() == CELL[0] * GRID[1] + CELL[1] or name == "linear"
    # By hand: sines first, then cosines; the difference of angles; slopes 2^-2, 2^-4 and so on.
    half = NUM_HEADS * HEAD_DIM // 2
    frequency = 10_000 ** (-5 / half)
    assert maps["sinusoidal"].by_place[5, 7] == pytest.approx(math.sin(7 * frequency), abs=1e-6)
    assert maps["sinusoidal"].by_place[half + 5, 7] == pytest.approx(math.cos(7 * frequency), abs=1e-6)
    pairs = HEAD_DIM // 2
    angles = [11 * 10_000 ** (-pair / pairs) for pair in range(pairs)]
    np.testing.assert_allclose(maps["rotary"].by_place[:, 11], [(a / math.tau) % 1 for a in angles])
    expected = sum(math.cos(a) for a in angles) / pairs
    assert maps["rotary"].match[20, 31] == pytest.approx(expected) == maps["rotary"].match[0, 11]
    assert maps["alibi"].match[3, 8] == pytest.approx(-5 / 4)
    np.testing.assert_allclose(maps["alibi"].by_place[1], [-abs(k - PLACES // 2) / 16 for k in range(PLACES)])
    row, column = CELL
    assert maps["alibi"].on_grid[row + 3, column + 4] == pytest.approx(-5 / 4)
    bias = maps["relative_bias"]
    assert bias.by_place[0, 30] == bias.match[PLACES // 2, 30] == bias.match[PLACES // 2 + 1, 31]
    learned = maps["learnable"]
    product = learned.by_place.T @ learned.by_place
    np.testing.assert_allclose(learned.match, product / product.diagonal().mean())


def test_nearness_is_a_correlation_with_distance():
    place = np.arange(7.0)
    distance = np.abs(place[:, None] - place)
    assert nearness(3 - 2 * distance) == pytest.approx(1)
    assert nearness(distance) == pytest.approx(-1)
    assert nearness(distance + 1000 * np.eye(7)) == pytest.approx(
        -1
    )  # how a place matches itself says nothing


def test_masks_follow_from_softmax_written_out():
    data = world_masks.compute(NOTHING)
    full, causal = data.ways
    tokens = len(data.kinds)
    for way in (full, causal):
        for query in range(tokens):
            seen = [key for key in range(tokens) if way is full or key <= query]
            assert way.allowed[query].tolist() == [key in seen for key in range(tokens)]
            weights = [math.exp(data.scores[query, key]) if key in seen else 0.0 for key in range(tokens)]
            expected = np.array(weights) / sum(weights)
            np.testing.assert_allclose(way.pattern[query], expected, rtol=1e-9, atol=1e-15)
            assert way.answer[query] == pytest.approx(float(expected @ data.heights))
    for query in range(tokens):
        for key in range(tokens):
            same = data.kinds[query] == data.kinds[key]
            assert data.scores[query, key] == pytest.approx(5.0 if same else 0.0)
    assert data.num_forbidden == tokens * (tokens - 1) // 2 == 21
    assert "21 of 49" in world_masks.headline(data)


@pytest.mark.parametrize("sample", [None, 0, 3, 300])
def test_signals_are_told_with_their_own_means(sample):
    data = world_shapes1d.compute(WorldSource(sample=sample))
    for shape, kind in enumerate(data.kind):
        mean = data.amplitude[data.kind == kind].mean()
        assert data.mean[shape] == pytest.approx(mean, rel=1e-6)
        own = data.owner == shape
        unit = data.input[own] / data.amplitude[shape]
        np.testing.assert_allclose(data.target[own], unit * mean, rtol=1e-5, atol=1e-6)
    assert f"{len(data.kind)} shapes" in world_shapes1d.headline(data)
    world_shapes1d.draw(data)


@pytest.mark.parametrize("sample", [None, 0, 5, 6])
def test_scenes_are_told_with_their_own_rule(sample):
    data = world_shapes2d.compute(WorldSource(sample=sample))
    for shape, kind in enumerate(data.kind):
        red, green, blue = data.colour[shape]
        assert data.red[shape] == (kind == 0 and red > green and red > blue)
        assert data.vanishes[shape] == (kind == 0 and not data.red[shape])
        x, y = data.centre[shape].astype(int)
        if kind == 0:
            np.testing.assert_array_equal(data.input[y, x], data.colour[shape])
            shown = data.targets["keep_red"][y, x]
            expected = [0, 0, 0] if data.vanishes[shape] else data.colour[data.red].mean(axis=0)
            np.testing.assert_allclose(shown, expected, atol=0.51)
            np.testing.assert_allclose(data.painted[shape], expected, atol=1e-3)
            mean = data.colour[data.kind == 0].mean(axis=0)
            np.testing.assert_allclose(data.targets["none"][y, x], mean, atol=0.51)
        else:
            np.testing.assert_array_equal(data.evidence[shape], data.kind == kind)
    world_shapes2d.draw(data)


def test_a_telling_sample_has_something_to_tell():
    signal, scene = world_shapes1d.compute(NOTHING), world_shapes2d.compute(NOTHING)
    assert min((signal.kind == kind).sum() for kind in range(3)) >= 2
    assert scene.red.sum() >= 2 and scene.vanishes.sum() >= 1


def test_tokens_are_patches_times_a_matrix_and_patches_tile_the_image():
    state = torch.get_rng_state()
    data = world_tokens.compute(NOTHING)
    assert torch.equal(torch.get_rng_state(), state)
    rows, columns = data.grid
    for token, patch in enumerate(data.patches):
        row, column = divmod(token, columns)
        side = len(patch)
        place = slice(row * side, (row + 1) * side), slice(column * side, (column + 1) * side)
        np.testing.assert_array_equal(data.image[place], patch)
    empty = [token for token, patch in enumerate(data.patches) if not patch.any()]
    assert len(empty) > 1
    np.testing.assert_array_equal(data.embedded[empty[0]], data.embedded[empty[1]])
    assert not np.array_equal(data.places[empty[0]], data.places[empty[1]])
    with pytest.raises(ValueError, match="patch must be 0 to 63, but got 64"):
        world_tokens.compute(WorldSource(patch=rows * columns))


def test_group_mass_shares_out_each_row():
    pattern = np.array([[0.5, 0.25, 0.25], [1.0, 0.0, 0.0], [0.0, 0.5, 0.5]])
    member = np.array([[1.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    np.testing.assert_allclose(group_mass(pattern, member), [[0.875, 0.125], [0.5, 0.5]])


def test_curves_are_medians_over_seeds_against_samples_seen(world_runs):
    curves = world_curves.compute(WorldSource(found_runs(world_runs))).worlds["shapes2d"]
    first = curves[0]
    both = next(found for found in curves if found.recipe == "shapes2d_encoder_decoder")
    assert both.samples == [70, 140, 210]
    assert both.seeds == [[1 / 2, 1 / 3, 1 / 4], [0.8 / 2, 0.8 / 3, 0.8 / 4]]
    np.testing.assert_allclose(both.median, [0.45, 0.3, 0.225])
    assert first.median[-1] == min(found.median[-1] for found in curves)


def test_a_patch_looks_as_its_model_says(world_runs):
    source = WorldSource(found_runs(world_runs))
    data = world_cross_patch.compute(source)
    assert data.on_evidence.shape == data.weights.shape[:2] == (1, 2)
    np.testing.assert_allclose(data.weights.sum(axis=-1), 1, rtol=1e-5)
    np.testing.assert_allclose(data.on_evidence, data.weights[..., data.evidence].sum(axis=-1))
    assert data.kind is not None and data.by_chance == data.evidence.sum() / 64
    assert world_cross_patch.compute(WorldSource(source.runs, patch=0)).patch == 0
    assert world_cross_patch.compute(NOTHING) is None


def test_answers_are_those_of_the_models_best_first(world_runs):
    runs = found_runs(world_runs)
    data = world_predictions.compute(WorldSource(runs, sample=5))
    assert list(data.worlds) == ["shapes2d"]
    found = data.worlds["shapes2d"]
    assert [answer.recipe for answer in found.answers] == [
        "shapes2d_place_queries",
        "shapes2d_encoder_decoder",
    ]
    assert [answer.held_out for answer in found.answers] == [
        0.9 / 4,
        1.0 / 4,
    ]  # of seed 0, though seed 1 is better
    batch = Shapes2D().generate(5, 1)
    run = next(run for run in runs if run.recipe == "shapes2d_encoder_decoder" and run.seed == 0)
    with torch.no_grad():
        answer = run.model(batch.pair()[0])
    shown = found.answers[1]
    np.testing.assert_allclose(shown.values, answer[0].movedim(0, -1), atol=1e-6)
    assert shown.on_sample == pytest.approx(scores(batch, answer)["colour_error"].value)
    np.testing.assert_array_equal(found.target, batch.pair()[1][0].movedim(0, -1))
    assert f"place queries leaves {number(found.answers[0].on_sample, 2)}" in world_predictions.headline(data)
    assert world_predictions.compute(NOTHING) is None


def test_one_run_alone_is_shown_even_unfinished_but_not_beside_finished_ones(world_runs, tmp_path):
    (finished,) = (run for run in found_runs(world_runs) if run.recipe == "shapes2d_place_queries")
    for name in ("config.json", "model.safetensors", "metrics.jsonl"):
        (tmp_path / name).write_bytes((world_runs / "encoder_decoder-0" / name).read_bytes())
    (unfinished,) = found_runs(tmp_path)
    alone = world_predictions.compute(WorldSource((unfinished,)))
    assert len(alone.worlds["shapes2d"].answers) == 1
    assert math.isnan(alone.worlds["shapes2d"].answers[0].held_out)
    world_predictions.draw(alone)
    both = WorldSource((unfinished, finished))
    shown = world_predictions.compute(both).worlds["shapes2d"].answers
    assert [answer.recipe for answer in shown] == ["shapes2d_place_queries"]
    assert world_curves.compute(WorldSource((unfinished,))) is None
    assert [curves.recipe for curves in world_curves.compute(both).worlds["shapes2d"]] == [finished.recipe]


def test_variants_of_a_model_are_shown_only_alone():
    def run(recipe):
        return WorldRun(Path("nowhere"), recipe, "attention1d", 0)

    variants = (run("shapes1d_positions_none"), run("shapes1d_mechanism_linear"))
    alone = kinds_of_models(WorldSource(variants), "shapes1d")
    assert {found.recipe for found in alone} == {found.recipe for found in variants}
    several = kinds_of_models(WorldSource((*variants, run("shapes1d_gru"))), "shapes1d")
    assert [found.recipe for found in several] == ["shapes1d_gru"]
