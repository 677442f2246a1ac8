"""The world of coloured shapes explained on one sample: each kind takes its mean colour, some filled circles vanish."""

import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8

from archaeology.core.names import plural
from archaeology.data.worlds.shapes2d import Shapes2D
from archaeology.data.worlds.shapes2d_rule import CIRCLE_RULES, FILLED_CIRCLE, KINDS, red_dominant
from archaeology.figures._theme import COLOURS, new_figure, place, themed
from archaeology.figures._world_ink import headline_height, shape_sign, title, write_at, write_headline
from archaeology.figures._world_source import WorldSource
from archaeology.figures.drawing import DataTable, Drawing, world_figures
from archaeology.figures.words import fixed

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

RULE_WORDS = {
    "keep_red": "filled circles that are not red vanish",
    "mean_of_red": "all filled circles take the mean of the red ones",
    "none": "filled circles are like every other kind",
}


@dataclass(frozen=True)
class Scene:
    """One sample and its truth, under each rule for filled circles.

    Attributes:
        input: RGB; every shape in its own colour.
        targets: RGB, by the name of the rule; the first is the default.
        kind: Of every shape, as an index into the kinds.
        centre: Of every shape: x, then y, in pixels.
        half: Half width and half height of every shape, in pixels.
        colour: Of every shape in the input, 0 to 255.
        painted: In the target of the default rule, 0 to 255; the background's where it vanishes.
        red: Filled circles whose red is above green and above blue.
        vanishes: Under the default rule.
        evidence: Whether the second shape's colour counts for the first, under the default rule.
    """

    input: UInt8[np.ndarray, "height width 3"]
    targets: dict[str, UInt8[np.ndarray, "height width 3"]]
    kind: Int[np.ndarray, " shape"]
    centre: Float[np.ndarray, "shape 2"]
    half: Float[np.ndarray, "shape 2"]
    colour: Float[np.ndarray, "shape 3"]
    painted: Float[np.ndarray, "shape 3"]
    red: Bool[np.ndarray, " shape"]
    vanishes: Bool[np.ndarray, " shape"]
    evidence: Bool[np.ndarray, "shape shape"]


def sample_of(source: WorldSource) -> int:
    """The sample asked for, else the first of those with most to see: two red filled circles, another, many kinds."""
    if source.sample is not None:
        return source.sample
    layout = Shapes2D().layout(0)
    circle = layout.kind == FILLED_CIRCLE
    red = (circle & red_dominant(layout.colour)).sum(dim=1)
    others = circle.sum(dim=1) - red
    kinds = torch.stack([(layout.kind == number).any(dim=1) for number in range(len(KINDS))]).sum(dim=0)
    return int((10 * ((red >= 2) & (others >= 1)).int() + kinds).argmax())


def compute(source: WorldSource) -> Scene:
    """The sample of the source."""
    number = sample_of(source)
    batches = {rule: Shapes2D(circle_rule=rule).generate(number, 1) for rule in CIRCLE_RULES}
    batch = batches[CIRCLE_RULES[0]]
    there = batch.kind[0] >= 0
    kind = batch.kind[0][there]
    return Scene(
        input=_picture(batch.input),
        targets={rule: _picture(found.target) for rule, found in batches.items()},
        kind=kind.numpy(),
        centre=batch.centre[0][there].double().numpy(),
        half=batch.half[0][there].double().numpy(),
        colour=batch.colour[0][there].double().numpy(),
        painted=batch.painted[0][there].double().numpy(),
        red=((kind == FILLED_CIRCLE) & red_dominant(batch.colour)[0][there]).numpy(),
        vanishes=batch.vanishes[0][there].numpy(),
        evidence=batch.evidence[0][there][:, there].numpy(),
    )


def _picture(images: UInt8[torch.Tensor, "1 3 height width"]) -> UInt8[np.ndarray, "height width 3"]:
    return images[0].movedim(0, -1).numpy()


def headline(data: Scene) -> str:
    """The rule, and what it does here."""
    gone = int(data.vanishes.sum())
    return (
        "Every kind of shape takes the mean colour of its kind, but of the filled circles only red ones count; the "
        f"others vanish: {plural(gone, 'circle')} of {plural(len(data.kind), 'shape')} here."
    )


SIDE, RULE, LEFT, GAP, SMALL = 2.9, 2.9, 0.15, 0.3, 1.28
ROW = 0.57
MIDDLE: dict[str, Any] = {"va": "center_baseline", "ha": "center", "fontsize": 11}


def draw(data: Scene) -> "Figure":
    """Input, the rule as a table of swatches, target; the targets of the other rules at the right."""
    said = headline(data)
    width = LEFT + 2 * SIDE + RULE + SMALL + 4 * GAP + 1.0
    top = headline_height(width, said) + 0.35
    with themed("world_shapes2d"):
        figure = new_figure(width, top + SIDE + 0.42)
        write_headline(figure, said)
        first = place(figure, LEFT, top, SIDE, SIDE)
        _image(first, data.input, "input")
        _evidence(first, data)
        _rule(figure, data, LEFT + SIDE + GAP, top)
        rules = list(data.targets)
        second = place(figure, LEFT + SIDE + RULE + 2 * GAP, top, SIDE, SIDE)
        _image(second, data.targets[rules[0]], f"target (rule {rules[0]})")
        _ghosts(second, data)
        notes = (LEFT, top + SIDE + 0.1), (LEFT + SIDE + RULE + 2 * GAP, top + SIDE + 0.1)
        for at, words in zip(
            notes, (_note(data), "dashed: where shapes vanished" if data.vanishes.any() else ""), strict=True
        ):
            write_at(figure, *at, words, size=7.5, colour="muted")
        left = LEFT + 2 * SIDE + RULE + 3 * GAP
        for number, rule in enumerate(rules[1:]):
            at = top + number * (SIDE - SMALL)
            _image(place(figure, left, at, SMALL, SMALL), data.targets[rule], f"rule {rule}")
            words = "\n".join(textwrap.wrap(RULE_WORDS[rule], 15))
            write_at(figure, left + SMALL + 0.06, at, words, size=7.0, colour="muted")
    return figure


def _image(axes: "Axes", image: UInt8[np.ndarray, "height width 3"], words: str) -> None:
    height, width = image.shape[:2]
    axes.imshow(image, extent=(0, width, height, 0), interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    title(axes, words)


def _shown(data: Scene) -> int | None:
    """The shape whose evidence the arrows show: a red circle with the most, else any shape with the most."""
    counts = data.evidence.sum(axis=1) + 0.5 * data.red
    best = int(counts.argmax())
    return best if data.evidence[best].sum() > 1 else None


def _note(data: Scene) -> str:
    gone = "\N{MULTIPLICATION SIGN}: not red, vanishes" if data.vanishes.any() else ""
    shown = _shown(data)
    arrows = "" if shown is None else f"arrows: evidence for one {KINDS[data.kind[shown]]}"
    return "; ".join(filter(None, (arrows, gone)))


def _evidence(axes: "Axes", data: Scene) -> None:
    """Arrows from the evidence to one shape, crosses over what vanishes."""
    shown = _shown(data)
    if shown is not None:
        end = data.centre[shown]
        for other in np.flatnonzero(data.evidence[shown]):
            if other != shown:
                look: dict[str, Any] = {"arrowstyle": "-|>", "color": COLOURS["paper"], "linewidth": 1.5}
                axes.annotate("", end, data.centre[other], arrowprops=look | {"shrinkA": 0, "shrinkB": 2})
    for x, y in data.centre[data.vanishes]:
        axes.plot([x], [y], "x", color=COLOURS["paper"], markersize=15, markeredgewidth=4)
        axes.plot([x], [y], "x", color=COLOURS["ink"], markersize=13, markeredgewidth=2)


def _ghosts(axes: "Axes", data: Scene) -> None:
    from matplotlib.patches import Circle

    for (x, y), (radius, _) in zip(data.centre[data.vanishes], data.half[data.vanishes], strict=True):
        axes.add_patch(Circle((x, y), radius, fill=False, edgecolor=COLOURS["line"], linestyle=(0, (3, 2))))


def _sign(
    axes: "Axes", x: float, y: float, data: Scene, shape: int, colours: Float[np.ndarray, "shape 3"]
) -> None:
    shape_sign(axes, x, y, KINDS[data.kind[shape]], tuple(colours[shape] / 255))


def _ground(data: Scene) -> tuple[float, ...]:
    return tuple(data.input[0, 0] / 255)


def _rule(figure: "Figure", data: Scene, left: float, top: float) -> None:
    """One row for each kind that is there: the colours that count, an arrow, their mean; likewise what vanishes."""
    from matplotlib.patches import Rectangle

    axes = place(figure, left, top, RULE, SIDE)
    axes.set_xlim(0, RULE)
    axes.set_ylim(SIDE, 0)
    axes.set_axis_off()
    title(axes, "the rule")
    groups = [
        (KINDS[kind], np.flatnonzero((data.kind == kind) & ~data.vanishes)) for kind in range(len(KINDS))
    ]
    groups = [("red filled circle" if name == KINDS[FILLED_CIRCLE] else name, own) for name, own in groups]
    rows = [(name, own, True) for name, own in groups if len(own)]
    if data.vanishes.any():
        rows.insert(1 if data.red.any() else 0, ("other filled circle", np.flatnonzero(data.vanishes), False))
    for number, (name, own, stays) in enumerate(rows):
        at = number * ROW
        axes.text(0, at + 0.06, f"{name}{'s' * (len(own) > 1)}", va="top", color=COLOURS["ink"])
        step = min(0.26, 1.5 / len(own))
        after = 0.2 + step * len(own)
        ground = Rectangle((0, at + 0.22), after + 0.5, 0.33, facecolor=_ground(data), edgecolor="none")
        axes.add_patch(ground)
        for count, shape in enumerate(own):
            _sign(axes, 0.18 + step * count, at + 0.385, data, int(shape), data.colour)
        axes.text(after, at + 0.385, "\N{RIGHTWARDS ARROW}", color=COLOURS["paper"], **MIDDLE)
        if stays:
            _sign(axes, after + 0.28, at + 0.385, data, int(own[0]), data.painted)
            words = "their mean" if len(own) > 1 else "alone, so it stays"
        else:
            axes.plot(
                [after + 0.28], [at + 0.385], "x", color=COLOURS["paper"], markersize=8, markeredgewidth=2
            )
            words = "vanish" if len(own) > 1 else "vanishes"
        axes.text(after + 0.56, at + 0.385, words, va="center", color=COLOURS["muted"], fontsize=7.5)


def table(data: Scene) -> DataTable:
    """Every shape with its colour and what becomes of it."""
    rows = tuple(
        (
            f"{number + 1} {KINDS[kind]}",
            _rgb(data.colour[number]),
            "vanishes" if data.vanishes[number] else _rgb(data.painted[number]),
            ", ".join(str(other + 1) for other in np.flatnonzero(data.evidence[number])),
        )
        for number, kind in enumerate(data.kind)
    )
    return DataTable(("Shape", "R G B in the input", "R G B in the target", "Evidence (shapes)"), rows)


def _rgb(colour: Float[np.ndarray, " 3"]) -> str:
    return " ".join(fixed(value, 0) for value in colour)


world_shapes2d = world_figures.register("world_shapes2d")(
    Drawing(
        name="world_shapes2d",
        title="What is to be done in shapes2d?",
        explanation="A model must find the other shapes of a kind, wherever they lie, and average their colours, and "
        "for filled circles it must first decide which of them count.",
        definition="A held-out sample of the world with default options and seed 0. A filled circle is red if its red "
        "exceeds its green and its blue; colours from 0 to 255. The first target is that of the default rule, the "
        "others are those of the other rules for filled circles.",
        compute=compute,
        headline=headline,
        draw=draw,
        table=table,
    )
)
