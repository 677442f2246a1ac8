"""A head made to follow red is found by recolouring and by ablation, one that does not is not."""

import itertools

import numpy as np
import pytest
import torch
from torch import nn

from archaeology.ablate.colour_filter import colour_filter_map, rule_scores
from archaeology.ablate.colour_rule import ColourRule, colour_rule
from archaeology.ablate.head_map import Layer
from archaeology.ablate.recolour import brightness_range, recolour_scenes, recoloured
from archaeology.attention import mechanisms
from archaeology.capture.attention import Attention
from archaeology.capture.interceptor import intercepted
from archaeology.data.worlds.membership import token_membership
from archaeology.data.worlds.shapes2d import Shapes2D
from archaeology.data.worlds.shapes2d_rule import FILLED_CIRCLE, red_dominant
from archaeology.data.worlds.shapes2d_scores import scores

PATCH = 8
LEVELS = (-100, -20, 15, 90)
WORLD = Shapes2D(size=64, num_shapes=(4, 5), radii=(7.0, 9.0))


class RedEye(nn.Module):
    """Head 0 reads the patch's own redness, which decides what is shown; head 1 looks at red; head 2 looks evenly."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = mechanisms.get("softmax")()

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        red, green, blue = image.unbind(1)
        seen = image.amax(1) > 0.2
        dominance = torch.where(seen, red - torch.maximum(green, blue), 0)
        patches = nn.functional.avg_pool2d(dominance[:, None], PATCH).flatten(2)[:, 0]
        batch, tokens = patches.shape
        number = torch.eye(tokens).expand(batch, -1, -1)
        ones = torch.ones(batch, tokens, tokens) / tokens
        query = torch.stack([number * 400, ones, ones], dim=1)
        key = torch.stack([number, (patches[..., None] * 400).expand(-1, -1, tokens), ones], dim=1)
        answer = self.attention(query, key, patches[:, None, :, None].expand(-1, 3, -1, 1))
        side = image.shape[-1] // PATCH
        redness = answer[:, 0, :, 0].unflatten(1, (side, side)).repeat_interleave(PATCH, 1)
        return image * (400 * redness.repeat_interleave(PATCH, 2)[:, None]).sigmoid()


@pytest.fixture(scope="module")
def found() -> ColourRule:
    return colour_rule(RedEye().train(), WORLD, PATCH, count=60, levels=LEVELS, batch_size=7)


def test_the_head_that_follows_red_is_found_and_no_other(found: ColourRule) -> None:
    assert found.layers == (Layer("", "token", 3),) and found.levels == LEVELS
    step = found.step()
    assert step.value.shape == (1, 3) and step.n == len(found.scene) > 8
    assert step.low[0, 1] > 0.5
    np.testing.assert_allclose(step.value[0, [0, 2]], 0, atol=1e-6)
    attention = found.attention()
    assert attention.value.shape == (4, 1, 3)
    np.testing.assert_allclose(attention.value[:, 0, 2], 1, atol=1e-5)  # evenly is chance
    np.testing.assert_allclose(attention.value[:, 0, 0], 0, atol=1e-5)  # each patch looks at itself
    assert (np.diff(attention.value[:, 0, 1]) > 0).all() and attention.value[0, 0, 1] < 1


def test_the_answer_shows_the_circle_from_zero_on(found: ColourRule) -> None:
    shown = found.shown()
    np.testing.assert_array_equal(found.should, np.tile([0, 0, 1, 1], (len(found.scene), 1)))
    assert shown.high[0] < 0.05 and shown.low[3] > 0.5 and shown.value[1] < 0.1
    assert found.seen.shape == (len(found.scene), 4, 3) and found.seen[:, 3, 0].mean() > 128


def test_every_number_is_that_of_one_scene_alone(found: ColourRule) -> None:
    """By loops, from a scene that is recoloured by hand."""
    model = RedEye().eval()
    scenes = recolour_scenes(WORLD, 60, PATCH, LEVELS)
    assert scenes.number.tolist() == found.scene.tolist()
    for row, column in itertools.product((0, len(scenes) - 1), (0, 2)):
        scene = scenes.part(row, row + 1)
        batch = scene.at_level(WORLD, LEVELS[column])
        circle = int(scene.chosen[0].nonzero())
        patterns: list[torch.Tensor] = []

        def keep(attention: Attention, kept: list[torch.Tensor] = patterns) -> None:
            kept.append(attention.pattern())

        with intercepted(model, keep):
            answer = model(batch.pair()[0])[0]
        members = token_membership(batch.owner, batch.kind.shape[1], PATCH)[0]
        reds = [
            shape
            for shape in range(batch.kind.shape[1])
            if batch.kind[0, shape] == FILLED_CIRCLE
            and shape != circle
            and red_dominant(batch.colour)[0, shape]
        ]
        on = {token for token in range(64) if members[circle, token]}
        by = {token for shape in reds for token in range(64) if members[shape, token]} - on
        for head in range(3):
            mass = sum(float(patterns[0][0, head, q, k]) for q in by for k in on) / len(by)
            assert found.mass[row, column, head] == pytest.approx(mass, abs=1e-5)
        assert found.area[row] == pytest.approx(len(on) / 64)
        inside = batch.inside[0] & (batch.owner[0] == circle)
        colour = 255 * answer[:, inside].mean(dim=1)
        np.testing.assert_allclose(found.seen[row, column], colour.numpy(), atol=0.01)
        if column == 2:
            wanted = batch.painted[0, circle]
        else:
            wanted = batch.colour[0, reds].mean(dim=0)
        share = float((colour * wanted).sum() / (wanted**2).sum())
        assert found.drawn[row, column] == pytest.approx(share, abs=1e-4)


class Copy(RedEye):
    """Shows what it is given, in evaluation mode."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        super().forward(image)
        return nn.functional.dropout(image, 0.5, self.training)


def test_what_is_shown_is_measured_from_the_background() -> None:
    world = Shapes2D(size=64, num_shapes=(4, 5), radii=(7.0, 9.0), background=(10, 4, 8))
    model = Copy().eval()
    found = colour_rule(model, world, PATCH, count=30, levels=LEVELS)
    assert not model.training
    np.testing.assert_allclose(found.should, np.tile([0, 0, 1, 1], (len(found.scene), 1)), atol=1e-5)
    scenes, ground = recolour_scenes(world, 30, PATCH, LEVELS), torch.tensor([10.0, 4, 8])
    batch = scenes.at_level(world, LEVELS[0])
    for row in range(len(scenes)):
        way = batch.colour[row, scenes.others[row]].mean(0) - ground
        own = batch.colour[row, scenes.chosen[row]][0] - ground
        assert found.drawn[row, 0] == pytest.approx(float((own * way).sum() / (way**2).sum()), abs=1e-3)
    training = colour_rule(model.train(), world, PATCH, count=30, levels=LEVELS)
    np.testing.assert_array_equal(training.drawn, found.drawn)


def test_the_step_is_between_all_levels_above_and_all_below(found: ColourRule) -> None:
    mass = found.mass.mean(axis=0) / found.area.mean()
    step = mass[2:].mean(axis=0) - mass[:2].mean(axis=0)
    np.testing.assert_allclose(found.step().value[0], step, atol=1e-6)


def test_only_the_circles_colour_changes_and_its_brightness_stays() -> None:
    scenes = recolour_scenes(WORLD, 40, PATCH, LEVELS)
    low, high = (scenes.at_level(WORLD, level) for level in (-100, 90))
    circles = scenes.chosen
    assert bool((circles.sum(1) == 1).all()) and bool((low.kind[circles] == FILLED_CIRCLE).all())
    assert bool(
        ((low.input != high.input).any(1) <= (low.owner == circles.int().argmax(1)[:, None, None])).all()
    )
    for batch, level in ((low, -100), (high, 90)):
        red, green, blue = batch.colour[circles].unbind(-1)
        assert bool((red - torch.maximum(green, blue) == level).all())
        assert bool(red_dominant(batch.colour)[circles].eq(level > 0).all())
        assert float((batch.colour[circles].mean(-1) - scenes.brightness).abs().max()) <= 1
    assert bool((scenes.others & red_dominant(low.colour)).any(1).all())
    assert not bool((scenes.looking & scenes.looked_at).any())


@pytest.mark.parametrize("levels", [(-120, 120), (-190, 60), (-20, 185), (-250, 10), (-7, 5, 8)])
def test_colours_stay_within_their_range(levels: tuple[int, ...]) -> None:
    least, most = brightness_range(levels)
    brightness = torch.linspace(float(least), float(most), 101)
    for level in levels:
        colour = recoloured(brightness, level)
        assert bool((colour == colour.round()).all()) and bool((colour[:, 0] - colour[:, 1] == level).all())
        assert float(colour.min()) >= 0 and float(colour.max()) <= 255
        assert float(colour.amax(-1).min()) >= 128


def test_the_heads_that_decide_are_found_by_ablation() -> None:
    batch = WORLD.generate(100, 60)
    found = colour_filter_map(RedEye(), batch, batch_size=25)
    assert found.layers == (Layer("", "token", 3),)
    lost, left, *_ = found.ablation.scores().value
    assert (lost + left) / 2 < 0.2
    assert found.decision.low[0, 0] > 0.15
    np.testing.assert_allclose(found.decision.value[0, 1:], 0)  # nobody listens to the other heads
    np.testing.assert_allclose(found.other_colour.value[0, 1:], 0)
    assert found.circle_colour.value.shape == (1, 3)


def test_rule_scores_share_out_what_the_world_scores() -> None:
    batch = WORLD.generate(7, 23)
    generator = torch.Generator().manual_seed(0)
    inputs, target = batch.pair()
    prediction = torch.where(torch.rand(23, 1, 1, 1, generator=generator) < 0.5, inputs, target * 0.6)
    whole, apart = scores(batch, prediction), rule_scores(batch, prediction)
    parts = [apart["circle_colour_error"], apart["other_colour_error"]]
    for side in ("part", "whole"):
        together = sum(float(getattr(part, side).sum()) for part in parts)
        expected = float(getattr(whole["colour_error"], side).sum())
        assert together / 255 == pytest.approx(expected, rel=1e-4)
    assert apart["left"].value == pytest.approx(1 - whole["vanish_recall"].value)
    perfect = rule_scores(batch, target)
    assert [round(ratio.value, 5) for ratio in perfect.values()] == [0, 0, 0, 0]
    assert rule_scores(batch, inputs)["left"].value == 1 and rule_scores(batch, inputs)["lost"].value == 0
    assert (
        rule_scores(batch, 0 * inputs)["left"].value == 0
        and rule_scores(batch, 0 * inputs)["lost"].value == 1
    )


def test_bad_input_is_refused() -> None:
    model = RedEye()
    for levels in ((), (5, 10), (-5, 0)):
        with pytest.raises(ValueError, match="levels must lie on both sides of 0"):
            colour_rule(model, WORLD, PATCH, levels=levels)
    with pytest.raises(ValueError, match="levels must leave room for bright colours"):
        colour_rule(model, WORLD, PATCH, levels=(-10, 200))
    with pytest.raises(ValueError, match="every attention must be among the 256 patches"):
        colour_rule(model, WORLD, 4, count=20, levels=LEVELS)
    with pytest.raises(ValueError, match="two filled circles"):
        colour_rule(model, Shapes2D(size=64, num_shapes=(1, 1)), PATCH, count=5, levels=LEVELS)
    assert model.training
