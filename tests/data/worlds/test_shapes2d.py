"""The world of coloured shapes: reproducible, apart, and true to its own rule, by loops that know nothing of it."""

import math
import time
from dataclasses import fields, replace
from typing import Any

import pytest
import torch

from archaeology.core.errors import UnknownNameError
from archaeology.data.worlds import Shapes2D, Shapes2DBatch
from archaeology.data.worlds.shapes2d_layout import Scenes2D
from archaeology.data.worlds.shapes2d_rule import CIRCLE_RULES, KINDS, red_dominant

# Of the first 64 samples of seed 0. They change only together with shapes2d.VERSION. Other processors round otherwise
# in the last place, which may move a pixel by one grey level.
MEANS = {
    "input": 0.5091559,
    "target": 0.5639393,
    "owner": 0.0399146,
    "inside": 0.00349582,
    "kind": 0.0813429,
    "centre": 1.3440024,
    "half": 0.1734437,
    "colour": 1.7799548,
    "painted": 2.3006221,
    "vanishes": -0.00625,
    "evidence": 0.01062178,
    "background": 0.0,
}


@pytest.fixture(scope="module")
def batch() -> Shapes2DBatch:
    return Shapes2D().generate(0, 64)


def assert_same(first: Shapes2DBatch, second: Shapes2DBatch) -> None:
    for field in fields(first):
        assert torch.equal(getattr(first, field.name), getattr(second, field.name)), field.name


def test_same_seed_same_bytes_and_the_same_numbers_on_every_processor(batch: Shapes2DBatch) -> None:
    assert batch.input.shape == batch.target.shape == (64, 3, 128, 128)
    assert_same(batch, Shapes2D().generate(0, 64))
    found = {field.name: weighted_mean(getattr(batch, field.name)) for field in fields(batch)}
    assert found == pytest.approx(MEANS, rel=1e-6, abs=1e-6)


def weighted_mean(values: torch.Tensor) -> float:
    """Every element with its own weight, so that nothing can change or change places unseen; NaN counts as -1."""
    flat = values.double().nan_to_num(-1).flatten()
    return float((flat * torch.linspace(-1, 1, len(flat), dtype=torch.float64)).mean())


def test_a_sample_depends_on_its_number_alone() -> None:
    world = Shapes2D(seed=3)
    whole = world.generate(0, 300)
    for start, count in ((250, 10), (17, 1), (255, 2), (31, 34)):
        assert_same(Shapes2D(seed=3).generate(start, count), whole.part(start, start + count))
    assert_same(next(world.batches(7, start=250)), whole.part(250, 257))
    assert not torch.equal(Shapes2D(seed=4).generate(0, 4).input, whole.input[:4])


def test_threads_autocast_and_the_global_generator_have_no_say(batch: Shapes2DBatch) -> None:
    threads, before = torch.get_num_threads(), torch.get_rng_state()
    try:
        torch.set_num_threads(3 if threads == 1 else 1)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert_same(Shapes2D().generate(0, 64), batch)
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("circle_rule", CIRCLE_RULES)
def test_gpu_draws_the_same_bytes(circle_rule: str) -> None:
    world = Shapes2D(circle_rule=circle_rule)
    assert_same(world.generate(0, 300, device="cuda").to("cpu"), world.generate(0, 300))


def is_red(colour: list[float]) -> bool:
    return colour[0] > colour[1] and colour[0] > colour[2]


def expected_rule(
    kinds: list[int], colours: list[list[float]], rule: str
) -> tuple[list[set[int]], list[list[float] | None]]:
    """Evidence of each shape and its colour in the target, None where it vanishes: written from the rule's words."""
    evidence, painted = [], []
    for i, kind in enumerate(kinds):
        group = {j for j, other in enumerate(kinds) if other == kind}
        reds = {j for j in group if is_red(colours[j])}
        gone = False
        if KINDS[kind] == "filled circle" and rule == "keep_red":
            gone = i not in reds
            group = {i} if gone else reds
        if KINDS[kind] == "filled circle" and rule == "mean_of_red":
            gone = not reds
            group = reds or group
        evidence.append(group)
        mean = [sum(colours[j][channel] for j in group) / len(group) for channel in range(3)]
        painted.append(None if gone else mean)
    return evidence, painted


@pytest.mark.parametrize("circle_rule", CIRCLE_RULES)
def test_truth_follows_from_kinds_and_colours(circle_rule: str) -> None:
    world = Shapes2D(seed=5, circle_rule=circle_rule, background=(3, 10, 7))
    batch = world.generate(0, 200)
    for b in range(len(batch)):
        count = int((batch.kind[b] >= 0).sum())
        assert 5 <= count <= 10 and (batch.kind[b, count:] == -1).all()
        evidence, painted = expected_rule(
            batch.kind[b, :count].tolist(), batch.colour[b, :count].tolist(), circle_rule
        )
        for i in range(count):
            assert set(batch.evidence[b, i].nonzero()[:, 0].tolist()) == evidence[i]
            assert bool(batch.vanishes[b, i]) == (painted[i] is None)
            colour = painted[i] or [3, 10, 7]
            assert batch.painted[b, i].tolist() == pytest.approx(colour, abs=1e-4)
        for field in ("centre", "half", "colour", "painted", "evidence", "vanishes"):
            assert not getattr(batch, field)[b, count:].any(), field
    scenes_without_red = [
        b
        for b in range(len(batch))
        if (batch.kind[b] == 0).any()
        and not any(
            is_red(c) for c, k in zip(batch.colour[b].tolist(), batch.kind[b].tolist(), strict=True) if k == 0
        )
    ]
    assert len(scenes_without_red) > 10
    for b in scenes_without_red:
        assert bool(batch.vanishes[b][batch.kind[b] == 0].all()) == (circle_rule != "none")


def inside_shape(kind: str, x: float, y: float, half: list[float]) -> bool:
    def filled(width: float, height: float) -> bool:
        if "circle" in kind:
            return x * x + y * y < width * width
        return abs(x) < width and abs(y) < height

    hollow = "hollow" in kind
    return filled(*half) and not (hollow and filled(half[0] - 3, half[1] - 3))


@pytest.mark.parametrize("number", range(4))
def test_pixels_are_covered_as_a_loop_of_tiny_points_says(number: int) -> None:
    """Input, target, owner and inside of a scene against 12 x 12 points a pixel, counted one by one around a shape."""
    batch, fine = Shapes2D(seed=6, background=(0, 4, 8)).generate(number, 1), 12
    covered = torch.zeros(batch.kind.shape[1], 128, 128)
    for i, kind in enumerate(batch.kind[0].tolist()):
        (x, y), half = batch.centre[0, i].tolist(), batch.half[0, i].tolist()
        for row in range(int(y - half[1]) - 1, int(y + half[1]) + 2) if kind >= 0 else ():
            for column in range(int(x - half[0]) - 1, int(x + half[0]) + 2):
                hits = sum(
                    inside_shape(KINDS[kind], column + (s + 0.5) / fine - x, row + (t + 0.5) / fine - y, half)
                    for s in range(fine)
                    for t in range(fine)
                )
                covered[i, row, column] = hits / fine**2
    ground = torch.tensor([0.0, 4, 8])[:, None, None]
    for image, colours in ((batch.input[0], batch.colour[0]), (batch.target[0], batch.painted[0])):
        expected = ground + (covered[:, None] * (colours[:, :, None, None] - ground)).sum(0)
        # A twelfth of a pixel is half a grain of the points: 11 grey levels at most, 1 on the average of the edges.
        assert (image - expected).abs().max() < 12
        edge = ((covered > 0) & (covered < 1)).any(0)
        assert (image - expected).abs()[:, edge].mean() < 2
    owner, inside = batch.owner[0].long(), batch.inside[0]
    assert torch.equal(owner[covered.sum(0) > 0], covered.argmax(0)[covered.sum(0) > 0])
    assert covered.sum(0)[inside].min() > 0.999
    assert covered.sum(0)[owner < 0].max() == 0
    assert not inside[(owner >= 0) & (covered.sum(0) < 0.98)].any()


@pytest.mark.parametrize("size", [113, 114, 115, 116])
def test_the_size_of_the_canvas_moves_nothing(size: int) -> None:
    """A crowded scene on a larger canvas is the same scene with a margin, whatever the rows of pixels end with."""
    options: dict[str, Any] = {"num_shapes": (16, 16), "background": (9, 0, 3)}
    scenes = Shapes2D(size=size, **options).layouts(0, 5)
    small, large = (Shapes2D(size=side, **options).drawn(scenes) for side in (size, 160))
    for field in ("input", "target", "owner", "inside"):
        image = getattr(small, field)
        assert image.shape[-2:] == (size, size) and image.is_contiguous()
        assert torch.equal(image, getattr(large, field)[..., :size, :size]), field
    for margin in (large.input[..., size:], large.target[..., size:, :]):
        assert torch.equal(margin, torch.tensor([9, 0, 3])[:, None, None].expand_as(margin).byte())


def test_plain_pixels_have_plain_colours(batch: Shapes2DBatch) -> None:
    scene, row, column = batch.inside.nonzero(as_tuple=True)
    shape = batch.owner[scene, row, column].long()
    assert torch.equal(batch.input[scene, :, row, column].float(), batch.colour[scene, shape])
    assert torch.equal(
        batch.target[scene, :, row, column].float(), (batch.painted[scene, shape] + 0.5).floor()
    )
    bare = (batch.owner < 0)[:, None].expand_as(batch.input)
    assert not batch.input[bare].any() and not batch.target[bare].any()
    for b in range(len(batch)):
        count = int((batch.kind[b] >= 0).sum())
        assert set(batch.owner[b][batch.inside[b]].tolist()) == set(range(count))


def test_colours_are_bright_and_half_of_the_filled_circles_red() -> None:
    scenes = Shapes2D().layouts(0, 2048)
    colours, kinds = scenes.colour[scenes.kind >= 0], scenes.kind[scenes.kind >= 0]
    assert torch.equal(colours, colours.floor()) and colours.max() == 255
    assert colours.amax(1).min() == 128
    red = torch.tensor([is_red(colour) for colour in colours[kinds == 0].tolist()])
    assert float(red.float().mean()) == pytest.approx(0.5, abs=4 * 0.5 / math.sqrt(len(red)))
    counts = (scenes.kind >= 0).sum(1).bincount()[5:] / 2048
    assert len(counts) == 6 and counts.min() > 0.13 and counts.max() < 0.21
    shares = kinds.bincount() / len(kinds)
    assert shares.min() > 0.235 and shares.max() < 0.265


@pytest.mark.parametrize("options", [{}, {"num_shapes": (16, 16)}])
def test_no_overlaps(options: dict[str, Any]) -> None:
    """In 10,000 scenes, bounding boxes are 2 pixels apart and 1 from the sides, placed freely or on the grid."""
    scenes = Shapes2D(**options).layouts(0, 10_000)
    there = scenes.kind >= 0
    ends = torch.stack([scenes.centre - scenes.half, scenes.centre + scenes.half])
    assert ends[0][there].min() > 0.999 and ends[1][there].max() < 127.001
    for i in range(scenes.kind.shape[1]):
        for j in range(i):
            gap = torch.maximum(ends[0][:, i] - ends[1][:, j], ends[0][:, j] - ends[1][:, i]).amax(1)
            assert gap[there[:, i] & there[:, j]].min() > 2 - 1e-4


def test_places_are_everywhere() -> None:
    """No grid shows in ordinary scenes: each ninth of the canvas has its share of the middles."""
    scenes = Shapes2D().layouts(0, 2048)
    centre = scenes.centre[scenes.kind >= 0]
    ninth = ((centre - 14) / 100 * 3).floor().clamp(0, 2).long()
    share = (ninth[:, 0] * 3 + ninth[:, 1]).bincount(minlength=9) / len(centre)
    assert share.min() > 0.07 and share.max() < 0.18


def scene(
    *shapes: tuple[str, tuple[float, float], tuple[float, float], tuple[float, float, float]],
) -> Scenes2D:
    """One scene of shapes given by kind, middle, half sides and colour."""
    kind = torch.tensor([[KINDS.index(name) for name, *_ in shapes]])
    centre, half, colour = (torch.tensor([[shape[part] for shape in shapes]]) for part in (1, 2, 3))
    return Scenes2D(kind, centre, half, colour)


THREE_CIRCLES = scene(
    ("filled circle", (20.0, 20.0), (8.0, 8.0), (200.0, 0.0, 0.0)),
    ("filled circle", (60.0, 20.0), (8.0, 8.0), (240.0, 100.0, 20.0)),
    ("filled circle", (20.0, 60.0), (8.0, 8.0), (0.0, 0.0, 255.0)),
    ("hollow rectangle", (60.0, 60.0), (8.0, 10.0), (0.0, 200.0, 0.0)),
    ("hollow rectangle", (100.0, 60.0), (10.0, 8.0), (0.0, 0.0, 100.0)),
)


def shown(batch: Shapes2DBatch, column: int, row: int) -> tuple[int, ...]:
    return tuple(batch.target[0, :, row, column].tolist())


@pytest.mark.parametrize(
    ("circle_rule", "red", "blue"),
    [
        ("keep_red", (220, 50, 10), (0, 0, 0)),
        ("mean_of_red", (220, 50, 10), (220, 50, 10)),
        ("none", (147, 33, 92), (147, 33, 92)),
    ],
)
def test_a_scene_drawn_by_hand(circle_rule: str, red: tuple[int, ...], blue: tuple[int, ...]) -> None:
    batch = Shapes2D(circle_rule=circle_rule).drawn(THREE_CIRCLES)
    assert [shown(batch, *place) for place in ((20, 20), (60, 20), (20, 60))] == [red, red, blue]
    left_stroke, right_stroke, hole = (53, 60), (91, 60), (60, 60)
    assert shown(batch, *left_stroke) == shown(batch, *right_stroke) == (0, 100, 50)
    assert shown(batch, *hole) == (0, 0, 0)
    # Edges on whole pixels: the rectangle is 16 wide and 20 high, its hole 10 and 14.
    assert (
        int((batch.owner[0] == 3).sum())
        == int((batch.inside & (batch.owner == 3)).sum())
        == 16 * 20 - 10 * 14
    )
    assert batch.input[0, :, 60, 20].tolist() == [0, 0, 255]


def test_without_a_red_circle_all_vanish() -> None:
    colour = THREE_CIRCLES.colour.clone()
    colour[0, :3] = torch.tensor([100.0, 200.0, 100.0])
    batch = Shapes2D(circle_rule="mean_of_red").drawn(replace(THREE_CIRCLES, colour=colour))
    assert batch.vanishes[0].tolist() == [True] * 3 + [False] * 2
    assert batch.evidence[0, 0].tolist() == [True] * 3 + [False] * 2
    assert not batch.target[0, :, 10:30, 10:30].any()


def test_a_circle_recoloured_past_the_rule_changes_sides() -> None:
    world, colour = Shapes2D(), THREE_CIRCLES.colour.clone()
    assert world.drawn(THREE_CIRCLES).evidence[0, 0].tolist() == [True, True, False, False, False]
    colour[0, 2] = torch.tensor([180.0, 179.0, 0.0])
    red = world.drawn(replace(THREE_CIRCLES, colour=colour))
    assert red.evidence[0, 0].tolist() == [True, True, True, False, False]
    assert shown(red, 20, 60) == shown(red, 20, 20) == (207, 93, 7)
    colour = colour.clone()
    colour[0, 2, 1] = 180.0
    green = world.drawn(replace(THREE_CIRCLES, colour=colour))
    assert green.evidence[0, 2].tolist() == [False, False, True, False, False]
    assert shown(green, 20, 60) == (0, 0, 0) and shown(green, 20, 20) == (220, 50, 10)
    assert torch.equal(green.owner, red.owner)


def test_red_as_bright_as_another_channel_does_not_dominate() -> None:
    colours = torch.tensor([[[9.0, 8, 8], [9, 9, 0], [9, 0, 9], [0, 9, 9], [9, 9, 9]]])
    assert red_dominant(colours).tolist() == [[True, False, False, False, False]]


@pytest.mark.parametrize("circle_rule", ["keep_red", "mean_of_red"])
def test_crowded_canvases_end_quickly(circle_rule: str) -> None:
    start = time.perf_counter()
    world = Shapes2D(num_shapes=(16, 16), circle_rule=circle_rule)
    batch = world.generate(0, 64)
    assert time.perf_counter() - start < 5
    assert (batch.kind >= 0).all()
    small = Shapes2D(size=28, num_shapes=(1, 1), radii=(13.0, 13.0)).generate(0, 3)
    assert small.input.shape == (3, 3, 28, 28)


def test_pair_is_floats_from_0_to_1(batch: Shapes2DBatch) -> None:
    given, wanted = batch.pair()
    assert given.dtype == wanted.dtype == torch.float32
    assert float(given.max()) <= 1 and float(given.max()) > 0.99
    assert torch.equal(wanted, batch.target.float() / 255)


def test_fingerprint_names_the_world() -> None:
    options: list[dict[str, Any]] = [
        {},
        {"seed": 1},
        {"num_samples": 5},
        {"size": 160},
        {"num_shapes": (5, 9)},
    ]
    options += [{"radii": (7.0, 12.0)}, {"circle_rule": "none"}, {"background": (0, 0, 1)}]
    assert len({Shapes2D(**option).fingerprint for option in options}) == len(options)
    assert Shapes2D().fingerprint == Shapes2D().fingerprint


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"num_shapes": (5, 17)},
            r"must fit on the canvas: 16 shapes of radius 13.0 .* num_shapes=\(5, 17\)",
        ),
        ({"size": 27, "num_shapes": (1, 1)}, "must fit on the canvas: 0 shapes"),
        ({"num_shapes": (0, 3)}, r"whole and at least 1, but got num_shapes=\(0, 3\)"),
        ({"num_shapes": (6, 5)}, r"least and the largest number, .* but got num_shapes=\(6, 5\)"),
        ({"size": 0}, "size must be a whole number of pixels, at least 1, but got size=0"),
        ({"size": -128}, "but got size=-128"),
        ({"radii": (-7.0, 13.0)}, r"radii must be .* but got radii=\(-7.0, 13.0\)"),
        ({"radii": (13.0, 7.0)}, r"but got radii=\(13.0, 7.0\)"),
        ({"radii": (3.9, 7.0)}, "at least 4.0 or a hollow shape has no hole"),
        ({"radii": (7.0, math.inf)}, "radii must be"),
        ({"radii": (math.nan, 13.0)}, "radii must be"),
        ({"background": (0, 0, 11)}, r"from 0 to 10, .* but got background=\(0, 0, 11\); take a darker one"),
        ({"background": (0, -1, 0)}, r"but got background=\(0, -1, 0\)"),
        ({"seed": -1}, "seed must be a whole number >= 0"),
        ({"num_samples": 0}, "num_samples must be at least 1"),
    ],
)
def test_impossible_options_are_refused_at_once(options: dict[str, Any], message: str) -> None:
    start = time.perf_counter()
    with pytest.raises(ValueError, match=message):
        Shapes2D(**options)
    assert time.perf_counter() - start < 1


def test_unknown_rule_gets_the_near_miss() -> None:
    with pytest.raises(
        UnknownNameError, match="No circle rule of shapes2d is called 'keep_reds'; did you mean 'keep_red'"
    ):
        Shapes2D(circle_rule="keep_reds")
