"""Self-attention against cross-attention on one scene: who looks at whom, shape by shape."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from archaeology.data.worlds.shapes2d import Shapes2D
from archaeology.data.worlds.shapes2d_rule import KINDS
from archaeology.figures._theme import COLOURS, SEQUENTIAL, colour_bar, new_figure, place, themed
from archaeology.figures._world_attention import SeenLayer, owner_of_patches, seen_layers
from archaeology.figures._world_ink import (
    MARK,
    headline_height,
    shape_sign,
    title,
    write_at,
    write_headline,
)
from archaeology.figures._world_source import SCORES, WorldRun, WorldSource
from archaeology.figures.drawing import DataTable, Drawing, world_figures
from archaeology.figures.words import fixed, percent
from archaeology.figures.world_shapes2d import sample_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WORLD, ARCHITECTURES = "shapes2d", ("encoder_decoder",)
WORDS = {
    "encoder.self": ("self-attention of the encoder", "image looks at image"),
    "decoder.self": ("self-attention of the decoder", "answer looks at answer"),
    "decoder.cross": ("cross-attention", "answer looks at image"),
}


@dataclass(frozen=True)
class ShapeMatrix:
    """The head of one kind of attention that looks most at other evidence.

    Attributes:
        kind: "encoder.self", "decoder.self" or "decoder.cross".
        layer: In words.
        head: Its number, from 0.
        mass: Of the attention of the looking group's tokens, what falls on the other's: shapes, the ground last.
        on_others: Mean share that falls on other shapes that count, over shapes that have such.
    """

    kind: str
    layer: str
    head: int
    mass: Float[np.ndarray, "group group"]
    on_others: float


@dataclass(frozen=True)
class SelfAndCross:
    """One scene and one head of each kind of attention.

    Attributes:
        image: RGB, the input.
        kinds: Of the shapes, as indices; shapes of a kind lie together.
        colours: Of the shapes in the input, 0 to 255.
        evidence: Whether the second shape's colour counts for the first.
        matrices: One for each kind of attention there is.
        by_chance: Mean share of the patches that other evidence has.
        recipe: Of the model.
    """

    image: UInt8[np.ndarray, "height width 3"]
    kinds: Int[np.ndarray, " shape"]
    colours: Float[np.ndarray, "shape 3"]
    evidence: Bool[np.ndarray, "shape shape"]
    matrices: list[ShapeMatrix]
    by_chance: float
    recipe: str


def compute(source: WorldSource) -> SelfAndCross | None:
    """The best trained encoder-decoder of the source with most kinds of attention; None without one."""
    run = most_kinds(source)
    if run is None:
        return None
    batch = Shapes2D().generate(sample_of(source), 1)
    size = int(getattr(run.model, "patch_size"))  # noqa: B009, modules do not say their attributes' types
    owners = owner_of_patches(batch.owner[0], batch.kind.shape[1], size)
    there = np.array(
        sorted(set(owners.tolist()) - {-1}, key=lambda shape: int(batch.kind[0, shape])), dtype=int
    )
    member = np.concatenate([owners == there[:, None], (owners == -1)[None]]).astype(float)
    evidence = batch.evidence[0].numpy()[np.ix_(there, there)]
    layers = seen_layers(run.model, batch.pair()[0])
    best = [
        _best(kind, [layer for layer in layers if kind_of(layer) == kind], member, evidence) for kind in WORDS
    ]
    others = evidence & ~np.eye(len(there), dtype=bool)
    return SelfAndCross(
        image=batch.input[0].movedim(0, -1).numpy(),
        kinds=batch.kind[0].numpy()[there],
        colours=batch.colour[0].double().numpy()[there],
        evidence=evidence,
        matrices=[found for found in best if found is not None],
        by_chance=on_others(np.tile(member.mean(axis=1), (len(member), 1)), others),
        recipe=run.recipe,
    )


def most_kinds(source: WorldSource) -> WorldRun | None:
    """The run with all kinds of attention, or as many as any has, and among those with the least error."""

    def rank(run: WorldRun) -> tuple[int, float]:
        modules = dict(run.model.named_modules())
        has_depth = [any(name.startswith(f"{part}.0") for name in modules) for part in ("encoder", "decoder")]
        score = run.score(SCORES[WORLD])
        return -sum(has_depth), math.inf if math.isnan(score) else score

    return min(source.of(WORLD, ARCHITECTURES), key=rank, default=None)


def kind_of(layer: SeenLayer) -> str:
    """One of `WORDS`."""
    return f"{layer.module.partition('.')[0]}.{'cross' if layer.is_cross else 'self'}"


def _best(
    kind: str,
    layers: list[SeenLayer],
    member: Float[np.ndarray, "group token"],
    evidence: Bool[np.ndarray, "shape shape"],
) -> ShapeMatrix | None:
    """The head that looks most at other evidence."""
    others = evidence & ~np.eye(len(evidence), dtype=bool)
    found = []
    for layer in layers:
        for head, pattern in enumerate(layer.pattern):
            mass = group_mass(pattern, member)
            found.append(ShapeMatrix(kind, layer.words, head, mass, on_others(mass, others)))
    return max(found, key=lambda matrix: matrix.on_others, default=None)


def group_mass(
    pattern: Float[np.ndarray, "query key"], member: Float[np.ndarray, "group token"]
) -> Float[np.ndarray, "group group"]:
    """Attention from the tokens of each group, on average, to all tokens of each group; 0 rows for groups without."""
    return member @ pattern @ member.T / np.maximum(member.sum(axis=1), 1)[:, None]


def on_others(mass: Float[np.ndarray, "group group"], others: Bool[np.ndarray, "shape shape"]) -> float:
    """Mean over shapes with other evidence of the mass on it; 0 where no shape has any."""
    shapes = len(others)
    has = others.any(axis=1)
    return float((mass[:shapes, :shapes] * others).sum(axis=1)[has].mean()) if has.any() else 0.0


def headline(data: SelfAndCross) -> str:
    """How much of each kind of attention falls on other evidence."""
    parts = [f"{WORDS[found.kind][0]} {percent(found.on_others, 0)}" for found in data.matrices]
    return (
        f"How much do shapes look at others that decide their colour? By chance {percent(data.by_chance, 0)}; "
        f"in the best head of {', of '.join(parts)}."
    )


SIDE, LEFT, GAP = 2.3, 0.2, 0.62


def draw(data: SelfAndCross) -> "Figure":
    """The scene, then one matrix for each kind of attention."""
    said = headline(data)
    width = LEFT + (1 + len(data.matrices)) * (SIDE + GAP) + 0.1
    top = headline_height(width, said) + 0.75
    with themed("world_self_and_cross"):
        figure = new_figure(width, top + SIDE + 1.25)
        write_headline(figure, said)
        scene = place(figure, LEFT, top, SIDE, SIDE)
        height, across = data.image.shape[:2]
        scene.imshow(data.image, extent=(0, across, height, 0), interpolation="nearest")
        scene.set_xticks([])
        scene.set_yticks([])
        title(scene, "the scene")
        for number, found in enumerate(data.matrices):
            left = LEFT + (number + 1) * (SIDE + GAP)
            _matrix(place(figure, left, top, SIDE, SIDE), data, found)
            first, second = WORDS[found.kind]
            write_at(figure, left, top - 0.5, first, size=9.0, weight="bold")
            write_at(
                figure,
                left,
                top - 0.32,
                f"{second}: {found.layer}, head {found.head + 1}",
                size=7.5,
                colour="muted",
            )
        bar = place(figure, LEFT + SIDE + GAP, top + SIDE + 0.75, SIDE, 0.09)
        colour_bar(bar, SEQUENTIAL, 0.0, 1.0, "share of the looking shape's attention")
        note = "pink frame: this colour counts for\nthat of the row\nground: patches without a shape"
        write_at(figure, LEFT, top + SIDE + 0.12, note, size=7.5, colour="muted")
    return figure


def _matrix(axes: "Axes", data: SelfAndCross, found: ShapeMatrix) -> None:
    from matplotlib.patches import Rectangle

    groups = len(found.mass)
    axes.imshow(found.mass, cmap=SEQUENTIAL, vmin=0, vmax=1, interpolation="none", aspect="auto")
    for (row, column), mass in np.ndenumerate(found.mass):
        colour = COLOURS["ink"] if mass > 0.6 else COLOURS["paper"]
        axes.text(column, row, fixed(100 * mass, 0), ha="center", va="center", fontsize=6, color=colour)
    for row, column in np.argwhere(data.evidence):
        frame = Rectangle((column - 0.45, row - 0.45), 0.9, 0.9, fill=False, edgecolor=MARK, linewidth=1.5)
        axes.add_patch(frame)
    ground = tuple(data.image[0, 0] / 255)
    axes.add_patch(Rectangle((-0.5, groups - 0.44), groups - 1, 0.9, facecolor=ground, clip_on=False))
    axes.add_patch(Rectangle((-1.46, -0.5), 0.9, groups - 1, facecolor=ground, clip_on=False))
    for number, (kind, colour) in enumerate(zip(data.kinds, data.colours, strict=True)):
        rgb = tuple(colour / 255)
        shape_sign(axes, float(number), groups + 0.01, KINDS[kind], rgb, 8.0)
        shape_sign(axes, -1.01, float(number), KINDS[kind], rgb, 8.0)
    axes.set_xlim(-0.5, groups - 0.5)
    axes.set_ylim(groups - 0.5, -0.5)
    axes.set_xticks(range(groups), [*[""] * (groups - 1), "gr."], fontsize=6.5)
    axes.set_yticks([])
    axes.tick_params(length=0, pad=5)
    axes.text(-0.6, groups - 1, "gr.", ha="right", va="center", fontsize=6.5, color=COLOURS["muted"])
    axes.set_xlabel("looked at (percent of the row's attention)", labelpad=10, fontsize=7.5)
    axes.text(-1.85, (groups - 1) / 2, "looks", rotation="vertical", va="center", ha="center", fontsize=7.5)


def table(data: SelfAndCross) -> DataTable:
    """Attention on other evidence."""
    rows = tuple(
        (WORDS[found.kind][0], f"{found.layer}, head {found.head + 1}", percent(found.on_others))
        for found in data.matrices
    )
    return DataTable(
        ("Attention", "Best head", "On other evidence"),
        (*rows, ("by chance", "any", percent(data.by_chance))),
    )


world_self_and_cross = world_figures.register("world_self_and_cross")(
    Drawing(
        name="world_self_and_cross",
        title="Who looks at whom in self-attention and in cross-attention?",
        explanation="In self-attention patches of the image (or of the answer) look at one another; in cross-attention "
        "patches of the answer look at patches of the image.",
        definition="One held-out sample of shapes2d. A patch belongs to the shape that owns most of it, a tenth or "
        "more, else to the ground. Of each kind of attention the head is shown in which shapes look most at "
        "others whose colour counts for them: mean over tokens of the looking shape, sum over those of the other.",
        compute=compute,
        headline=headline,
        draw=draw,
        table=table,
    )
)
