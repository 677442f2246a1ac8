"""Which patterns of noise break a model: its error under noise of every single frequency, as a map."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from archaeology.core.names import plural
from archaeology.figures._robustness import Attacked, Ends, Subject, ends_of, part_of, subjects_of
from archaeology.figures._robustness_ink import GAP, LEFT, RIGHT, WIDTH, write
from archaeology.figures._theme import SEQUENTIAL, bare, colour_bar, new_figure, place, themed
from archaeology.figures.drawing import DataTable, Drawing, figures
from archaeology.figures.words import fixed

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ACROSS = 2
ABOVE, BELOW, BAR = 0.25, 0.5, 0.52  # inches above and below a map, and for the colour bar


@dataclass(frozen=True)
class Ring:
    """All frequencies between two radii, in percent of the finest: the error in percent."""

    low: float
    high: float
    error: Ends

    @property
    def name(self) -> str:
        """Its radii in words."""
        return f"{fixed(self.low, 0)} to {fixed(min(self.high, 100.0), 0)} %"


@dataclass(frozen=True)
class FourierMap:
    """One model.

    Attributes:
        subject: The model.
        errors: Percent of images wrong under noise of each frequency, no frequency in the middle.
        clean: Percent wrong without noise.
        rings: From coarse to fine.
    """

    subject: Subject
    errors: Float[np.ndarray, "down right"]
    clean: Ends
    rings: tuple[Ring, ...]


@dataclass(frozen=True)
class FourierMaps:
    """All models on one scale.

    Attributes:
        maps: One for each model.
        reach: Cycles from the middle to the lower and to the right edge.
        step: Cycles between two frequencies.
        low: Smallest error of all maps, where the colours begin.
        high: Largest, where they end.
        rms: Strength of the noise: root mean square of a channel, in 1/255.
        n: Images.
    """

    maps: tuple[FourierMap, ...]
    reach: tuple[float, float]
    step: float
    low: float
    high: float
    rms: float
    n: int


def compute(source: Attacked) -> FourierMaps | None:
    """Maps of the document; None where noise of single frequencies was not tried."""
    found = part_of(source, "fourier")
    if not found:
        return None
    names = [str(name) for name in found["specimens"]]
    subjects = subjects_of(source.robustness or {}, names)
    maps = tuple(_map(subjects[name], found["models"][name]) for name in names)
    down, right = (np.array(found[side], dtype=float) for side in ("down", "right"))
    return FourierMaps(
        maps=maps,
        reach=(float(down.max()), float(right.max())),
        step=float(right[1] - right[0]) if len(right) > 1 else 1.0,
        low=float(min(one.errors.min() for one in maps)),
        high=float(max(one.errors.max() for one in maps)),
        rms=255 * float(found["rms"]),
        n=int(found["n"]),
    )


def _map(subject: Subject, found: Mapping[str, Any]) -> FourierMap:
    half = 100 * np.array(found["errors"], dtype=float)
    return FourierMap(
        subject=subject,
        errors=np.concatenate(
            [half[::-1, :0:-1], half], axis=1
        ),  # the left half is the right one turned by half
        clean=ends_of(found["clean"], "error").in_percent,
        rings=tuple(
            Ring(100 * float(row["low"]), 100 * float(row["high"]), ends_of(row, "error").in_percent)
            for row in found["rings"]
        ),
    )


def headline(data: FourierMaps) -> str:
    """For each model the ring of frequencies that surely breaks it most, if there is one."""
    of = f"Brackets hold 95 % intervals over {plural(data.n, 'image')}."
    return " ".join([*(_said(one) for one in data.maps), of])


def _said(found: FourierMap) -> str:
    worst = max(found.rings, key=lambda ring: ring.error.value)
    name, error = found.subject.title, f"{fixed(worst.error.value, 1)} % ({worst.error.range(1)})"
    others = [ring for ring in found.rings if ring is not worst]
    if others and all(worst.error.low > ring.error.high for ring in others):
        rest = max(others, key=lambda ring: ring.error.value)
        return (
            f"{name} surely errs most under noise at {worst.name} of the finest frequency: {error} against at most "
            f"{fixed(rest.error.value, 1)} % ({rest.error.range(1)}) elsewhere."
        )
    return f"For {name} no band of frequencies is surely the worst: {error} at {worst.name} of the finest."


def draw(data: FourierMaps) -> "Figure":
    """A map for each model, two abreast, on one scale of colours."""
    wide = (WIDTH - LEFT - RIGHT - (ACROSS - 1) * GAP) / ACROSS
    tall = wide * min(data.reach[0] / data.reach[1], 2.0)
    rows = -(-len(data.maps) // ACROSS)
    step = ABOVE + tall + BELOW
    with themed("fourier_sensitivity"):
        figure = new_figure(WIDTH, rows * step + BAR)
        for at, one in enumerate(data.maps):
            left, top = LEFT + (at % ACROSS) * (wide + GAP), (at // ACROSS) * step
            write(
                figure, left, top + 0.04, one.subject.title, colour=one.subject.colour, size=9.0, is_bold=True
            )
            axes = place(figure, left, top + ABOVE, wide, tall)
            _draw_map(axes, one, data)
            if at % ACROSS == 0:
                axes.set_ylabel("cycles, top to bottom", labelpad=2)
        bar = place(figure, LEFT, rows * step + 0.02, WIDTH - LEFT - RIGHT, 0.1)
        high = data.high if data.high > data.low else data.low + 1
        colour_bar(bar, SEQUENTIAL, data.low, high, "images wrong (%), one scale for all maps")
    return figure


def _draw_map(axes: "Axes", one: FourierMap, data: FourierMaps) -> None:
    (down, right), half = data.reach, data.step / 2
    axes.imshow(
        one.errors,
        cmap=SEQUENTIAL,
        vmin=data.low,
        vmax=data.high if data.high > data.low else data.low + 1,
        extent=(-right - half, right + half, down + half, -down - half),
        aspect="auto",
        interpolation="none",
        clip_on=False,
    )
    axes.set_xticks([-right, 0, right], [f"{-right:g}".replace("-", "\N{MINUS SIGN}"), "0", f"{right:g}"])
    axes.set_yticks([-down, 0, down], [f"{-down:g}".replace("-", "\N{MINUS SIGN}"), "0", f"{down:g}"])
    bare(axes)
    axes.set_xlabel("cycles, left to right", labelpad=1)


def table(data: FourierMaps) -> DataTable:
    """Error without noise, then by ring of frequencies, one column for each model."""
    rows = [("No noise", *(one.clean.text(1) for one in data.maps))]
    for at, ring in enumerate(data.maps[0].rings):
        rows.append(
            (f"{ring.name} of the finest frequency", *(one.rings[at].error.text(1) for one in data.maps))
        )
    return DataTable(("Noise", *(f"{one.subject.title} wrong (%)" for one in data.maps)), tuple(rows))


fourier_sensitivity = figures.register("fourier_sensitivity")(
    Drawing(
        name="fourier_sensitivity",
        title="Which patterns of noise break them?",
        explanation="Every point is one striped pattern laid over the images: coarse stripes in the middle, fine ones "
        "at the rim. Where the map is bright, these stripes make the model wrong; compare with no noise in the table.",
        definition="Share of images wrong after a plane wave of one frequency was added, with a random sign in each "
        "channel, all waves equally strong (root mean square given in robustness.json as rms), values cut to [0, 1]. "
        "Bands of frequencies: mean error, its 95 % interval bootstrapped over images; one band is called the worst "
        "where its interval lies above all others.",
        compute=compute,
        headline=headline,
        draw=draw,
        table=table,
    )
)
