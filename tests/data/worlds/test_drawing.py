"""Shapes against polygons and plain geometry; soft edges one pixel wide; textures that repeat and balance."""

import math

import numpy as np
import pytest
import torch
from matplotlib.path import Path as Polygon

from archaeology.data.worlds.drawing import EXTENT, SHAPES, TEXTURES, covered

RADIUS = 40.0


@pytest.fixture(scope="module")
def plane() -> tuple[torch.Tensor, torch.Tensor]:
    line = torch.arange(-70, 70, 0.5) + 0.173
    v, u = torch.meshgrid(line, line, indexing="ij")
    return u[None], v[None]


def circle(u: np.ndarray, v: np.ndarray, x: float, y: float, radius: float) -> np.ndarray:
    return np.hypot(u - x, v - y) < radius


def inside_by_geometry(name: str, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Each shape written another way: corners for those that have them, circles for the others."""
    points = np.stack([u.ravel(), v.ravel()], axis=1)

    def polygon(corners: list[tuple[float, float]]) -> np.ndarray:
        return (
            Polygon([(RADIUS * x, RADIUS * y) for x, y in corners]).contains_points(points).reshape(u.shape)
        )

    half = math.sqrt(math.pi) / 2
    if name == "square":
        return polygon([(-half, -half), (half, -half), (half, half), (-half, half)])
    if name == "triangle":
        far = math.sqrt(
            math.pi / (3 * math.sqrt(3) / 4)
        )  # circumradius of the equilateral triangle of area pi
        return polygon(
            [(far * math.sin(a), far * math.cos(a)) for a in (0, 2 * math.pi / 3, -2 * math.pi / 3)]
        )
    if name == "star":
        far = math.sqrt(math.pi / (5 * 0.45 * math.sin(math.pi / 5)))
        return polygon(
            [
                (
                    far * (0.45 if k % 2 else 1) * math.sin(k * math.pi / 5),
                    far * (0.45 if k % 2 else 1) * math.cos(k * math.pi / 5),
                )
                for k in range(10)
            ]
        )
    if name == "cross":
        long = math.sqrt(math.pi / (8 * 0.36 - 4 * 0.36**2))
        bar = 0.36 * long
        return polygon([(-long, -bar), (long, -bar), (long, bar), (-long, bar)]) | polygon(
            [(-bar, -long), (bar, -long), (bar, long), (-bar, long)]
        )
    if name == "disc":
        return circle(u, v, 0, 0, RADIUS)
    if name == "ring":
        outer = RADIUS * 2 / math.sqrt(3)
        return circle(u, v, 0, 0, outer) & ~circle(u, v, 0, 0, outer / 2)
    if name == "crescent":
        big = 1.37309 * RADIUS
        return circle(u, v, 0.25 * RADIUS, 0, big) & ~circle(u, v, 0.25 * RADIUS + big / 2, 0, 0.75 * big)
    side = math.sqrt(math.pi / (4 + math.pi))
    shift = (
        side * side / math.pi * (side * math.pi / 2) * (1 + 4 / (3 * math.pi))
    )  # puts the mean in the middle
    low, high = -side - shift, side - shift
    middle = -shift
    return (
        polygon([(low, low), (high, low), (high, high), (low, high)])
        | circle(u, v, RADIUS * high, RADIUS * middle, RADIUS * side)
        | circle(u, v, RADIUS * middle, RADIUS * high, RADIUS * side)
    )


@pytest.mark.parametrize("name", SHAPES)
def test_shape_is_what_its_name_says(name: str, plane: tuple[torch.Tensor, torch.Tensor]) -> None:
    u, v = plane
    distance = SHAPES[name](u, v, torch.tensor([[[RADIUS]]]))[0].numpy()
    expected = inside_by_geometry(name, u[0].double().numpy(), v[0].double().numpy())
    wrong = (distance < 0) != expected
    assert np.abs(distance[wrong]).max(initial=0) < 0.02, "differs by more than rounding of the constants"
    assert expected.mean() * 140**2 == pytest.approx(math.pi * RADIUS**2, rel=0.01)
    assert np.hypot(u[0].numpy(), v[0].numpy())[expected].max() <= EXTENT * RADIUS


@pytest.mark.parametrize("name", SHAPES)
def test_edges_are_one_pixel_soft(name: str, plane: tuple[torch.Tensor, torch.Tensor]) -> None:
    u, v = plane
    distance = SHAPES[name](u, v, torch.tensor([[[RADIUS]]]))[0].double().numpy()
    slope = np.hypot(*np.gradient(distance, 0.5))[np.abs(distance) < 1]
    assert np.mean(np.abs(slope - 1) < 0.02) > 0.93
    assert slope.max() < 1.01


@pytest.mark.parametrize("name", TEXTURES)
def test_texture_uses_both_colours_and_stays_between_them(name: str) -> None:
    line = torch.arange(-32, 32) + 0.5
    v, u = (plane[None] for plane in torch.meshgrid(line, line, indexing="ij"))
    paint = TEXTURES[name](u, v, torch.tensor([[[8.0]]]), torch.tensor([[[16.0]]]))
    assert paint.min() == 0 and paint.max() == 1
    assert 0.3 < paint.mean() < 0.7


@pytest.mark.parametrize(("name", "shift_u", "shift_v"), [
    ("stripes", 8, 0), ("stripes", 0, 3), ("checker", 10.8, 0), ("checker", 5.4, 5.4), ("dots", 8.8, 0),
    ("dots", 0, 8.8), ("zigzag", 10.4, 0), ("zigzag", 0, 12.8),
])  # fmt: skip
def test_texture_repeats(name: str, shift_u: float, shift_v: float) -> None:
    line = torch.arange(-30, 30, dtype=torch.float64) + 0.37
    v, u = (plane[None] for plane in torch.meshgrid(line, line, indexing="ij"))
    period, radius = (
        torch.full((1, 1, 1), 8.0, dtype=torch.float64),
        torch.full((1, 1, 1), 16.0, dtype=torch.float64),
    )
    here = TEXTURES[name](u, v, period, radius)
    torch.testing.assert_close(TEXTURES[name](u + shift_u, v + shift_v, period, radius), here)
    assert not torch.allclose(TEXTURES[name](u + 2.9, v + 0.4, period, radius), here)


def test_covered_is_a_ramp_of_one_pixel() -> None:
    distance = torch.tensor([-9.0, -0.5, -0.25, 0.0, 0.25, 0.5, 9.0])
    expected = torch.tensor([1, 1, 0.75, 0.5, 0.25, 0, 0])
    torch.testing.assert_close(covered(distance[None, None])[0, 0], expected)
