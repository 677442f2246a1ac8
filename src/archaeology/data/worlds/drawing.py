"""Shapes and textures as formulas: how far is this pixel from the edge? The answer, clipped, is a soft edge.

Signed distances (`green2007improved`): negative inside, positive outside, in pixels. Differs: formulas, not a
stored field; every shape has the area of a disc of radius `radius`, so size never tells which shape it is;
around corners only the edge itself is exact. All operations are ones that IEEE 754 rounds in one way (no sine,
no exponential, no fused multiply-add), so CPU and GPU draw the same bits.
"""

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor, maximum, minimum

# `u` to the right and `v` downwards from the middle, in the axes of the (rotated) object, in pixels.
Plane = Float[Tensor, "batch height width"]
Scalar = Float[Tensor, "batch 1 1"]


def covered(distance: Plane) -> Plane:
    """Share of a pixel that lies inside an edge `distance` away: 0 to 1, one half on the edge."""
    return (0.5 - distance).clamp(0, 1)


def length(u: Plane, v: Plane) -> Plane:
    """Distance from the middle."""
    return (u * u + v * v).sqrt()


def disc(u: Plane, v: Plane, radius: Scalar) -> Plane:
    """Everything within `radius` of the middle."""
    return length(u, v) - radius


def square(u: Plane, v: Plane, radius: Scalar) -> Plane:
    """Half side sqrt(pi) / 2."""
    return maximum(u.abs(), v.abs()) - 0.8862 * radius


def triangle(u: Plane, v: Plane, radius: Scalar) -> Plane:
    """Equilateral; the inradius is a third of the height."""
    return maximum(0.8660 * u.abs() + 0.5 * v, -v) - 0.7776 * radius


def cross(u: Plane, v: Plane, radius: Scalar) -> Plane:
    """Two bars of the same width at right angles."""
    across, along = u.abs(), v.abs()
    return maximum(minimum(across, along) - 0.4152 * radius, maximum(across, along) - 1.1534 * radius)


def star(u: Plane, v: Plane, radius: Scalar) -> Plane:
    """Five points: fold the plane over the mirror lines until one edge is left, then measure to that edge."""
    u = u.abs()
    for mirror_u, mirror_v in ((0.8090, -0.5878), (-0.8090, -0.5878)):
        beyond = 2 * (mirror_u * u + mirror_v * v).clamp(min=0)
        u, v = u - mirror_u * beyond, v - mirror_v * beyond
    # The tip is at (0, 1.5413) and the notch 0.45 times as far, 36 degrees on; their line has this normal.
    return 0.9233 * u.abs() + 0.3840 * (v - 1.5413 * radius)


def ring(u: Plane, v: Plane, radius: Scalar) -> Plane:
    """The hole is half as wide as the whole."""
    return (length(u, v) - 0.8660 * radius).abs() - 0.2887 * radius


def crescent(u: Plane, v: Plane, radius: Scalar) -> Plane:
    """A disc with a smaller disc bitten out of its side."""
    u = u - 0.25 * radius
    return maximum(length(u, v) - 1.3731 * radius, 1.0298 * radius - length(u - 0.6866 * radius, v))


def heart(u: Plane, v: Plane, radius: Scalar) -> Plane:
    """A square standing on its corner with a disc on each of the two upper sides."""
    high, low = maximum(u, v) + 0.2079 * radius, minimum(u, v) + 0.2079 * radius
    half = 0.6633 * radius
    box = maximum(high.abs(), low.abs()) - half
    return minimum(box, length(high - half, low) - half)


SHAPES: dict[str, Callable[[Plane, Plane, Scalar], Plane]] = {
    "disc": disc,
    "square": square,
    "triangle": triangle,
    "cross": cross,
    "star": star,
    "ring": ring,
    "crescent": crescent,
    "heart": heart,
}
EXTENT = 1.56  # no part of a shape is further from its middle than this many radii


def wave(x: Plane, period: Scalar) -> Plane:
    """Distance to the nearest edge of bands that alternate along `x`, positive in every second band."""
    turns = x / period
    return ((turns - turns.floor() - 0.5).abs() - 0.25) * period


def zigzag_line(x: Plane, period: Scalar) -> Plane:
    """A line that climbs and falls with slope 1, for bands that follow it."""
    turns = x / period
    return (turns - turns.floor() - 0.5).abs() * period


def stripes(u: Plane, v: Plane, period: Scalar, radius: Scalar) -> Plane:
    """Straight bands."""
    return covered(wave(u, period))


def zigzag(u: Plane, v: Plane, period: Scalar, radius: Scalar) -> Plane:
    """Bands that turn left and right."""
    return covered(0.7071 * wave(u + zigzag_line(v, 1.6 * period), 1.3 * period))


def checker(u: Plane, v: Plane, period: Scalar, radius: Scalar) -> Plane:
    """A chess board."""
    wide = 1.35 * period
    return 0.5 + 2 * wave(u, wide).clamp(-0.5, 0.5) * wave(v, wide).clamp(-0.5, 0.5)


def dots(u: Plane, v: Plane, period: Scalar, radius: Scalar) -> Plane:
    """Discs on a square lattice."""
    wide = 1.1 * period
    u, v = u / wide, v / wide
    return covered(length(u - u.floor() - 0.5, v - v.floor() - 0.5) * wide - 0.33 * wide)


def rings(u: Plane, v: Plane, period: Scalar, radius: Scalar) -> Plane:
    """Bands around a point."""
    return covered(wave(length(u, v), period))


def rays(u: Plane, v: Plane, period: Scalar, radius: Scalar) -> Plane:
    """Ten sectors around a point: the sides of five lines, multiplied."""
    sides = (u * 2).clamp(-1, 1)
    for cosine, sine in ((0.8090, 0.5878), (0.3090, 0.9511), (-0.3090, 0.9511), (-0.8090, 0.5878)):
        sides = sides * ((cosine * u + sine * v) * 2).clamp(-1, 1)
    return 0.5 + 0.5 * sides


def gradient(u: Plane, v: Plane, period: Scalar, radius: Scalar) -> Plane:
    """One colour fading into the other."""
    return (0.5 + 0.4 * u / radius).clamp(0, 1)


TEXTURES: dict[str, Callable[[Plane, Plane, Scalar, Scalar], Plane]] = {
    "stripes": stripes,
    "zigzag": zigzag,
    "checker": checker,
    "dots": dots,
    "rings": rings,
    "rays": rays,
    "gradient": gradient,
}
