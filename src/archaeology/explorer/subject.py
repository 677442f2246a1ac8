"""What the explorer shows of one image: the photo, and for each model its answer, attention, heads and maps.

Nothing here computes: `live.py` and `from_run.py` fill these in, and `Subject.pack` makes the bytes that a page reads.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Int, UInt8

from archaeology.explorer.pack import Plain, SquareRoot, pack
from archaeology.specimens.layout import TokenLayout

SCHEMA = 1
AttentionKind = Literal["token", "window", "cross"]
MapState = Literal["drawn", "empty", "missing"]


@dataclass(frozen=True)
class Answer:
    """What a model says: a class, how sure it is, and whether that is right (None where nobody knows)."""

    name: str
    confidence: float
    is_right: bool | None = None


@dataclass(frozen=True)
class ClassScore:
    """A class with its logit and its probability."""

    name: str
    logit: float
    probability: float


@dataclass(frozen=True)
class Effect:
    """What the accuracy or loss of a model loses without a head, with its interval, over `n` images.

    Attributes:
        value: The drop.
        low: Of its 95 % interval, which is this head's alone.
        high: Of that interval.
        n: How many images.
        tried: How many heads were tried, of which the reader picks one.
        verdict: "needed", "harmful" or another, by a test corrected for all heads tried; None where none was made.
    """

    value: float
    low: float
    high: float
    n: int
    tried: int | None = None
    verdict: str | None = None


@dataclass(frozen=True)
class HeadFacts:
    """A head over all images of a run: its label, its statistics, and what it is worth.

    Attributes:
        layer: Number among the layers shown, from 0.
        head: From 0.
        label: What it specializes in, in words.
        entropy: Nats.
        distance: Mean distance in pixels.
        participation: Share of keys it spreads over, 0 to 1.
        class_token_mass: Share of attention on the class token.
        effect: Of ablating it; None where that was not measured.
    """

    layer: int
    head: int
    label: str | None = None
    entropy: float | None = None
    distance: float | None = None
    participation: float | None = None
    class_token_mass: float | None = None
    effect: Effect | None = None


@dataclass(frozen=True, eq=False)
class AttentionLayer:
    """One layer.

    Attributes:
        name: Dotted path of the module.
        rows: Of the grid of its keys.
        columns: Of that grid.
        heads: How many.
        pattern: (head, query, key), for windows (window, head, query, key); None where only rows are served.
        places: Of windows: place (row * columns + column) of each token, -1 for padding.
    """

    name: str
    rows: int
    columns: int
    heads: int
    pattern: Float[np.ndarray, "*windows head query key"] | None = None
    places: Int[np.ndarray, "window token"] | None = None

    def document(self) -> dict[str, Any]:
        """As the container has it."""
        return {
            "name": self.name,
            "rows": self.rows,
            "columns": self.columns,
            "heads": self.heads,
            "pattern": weights(self.pattern),
            "places": None if self.places is None else Plain(self.places.astype(np.int32)),
        }


@dataclass(frozen=True, eq=False)
class AttentionLayers:
    """All attention of a model that can be laid on the image.

    Attributes:
        kind: "token" where all tokens look at all, "window", or "cross" where words look at patches.
        layers: First to last.
        queries: Names of the query tokens, where they are no patches.
        readout: What the readout pays to the patches; for layers without patterns.
    """

    kind: AttentionKind
    layers: tuple[AttentionLayer, ...]
    queries: tuple[str, ...] | None = None
    readout: Float[np.ndarray, "layer head patch"] | None = None

    def without_patterns(self) -> "AttentionLayers | None":
        """The readout alone, which is small; None where there is none."""
        if self.readout is None:
            return None
        bare = tuple(AttentionLayer(one.name, one.rows, one.columns, one.heads) for one in self.layers)
        return AttentionLayers(self.kind, bare, self.queries, self.readout)

    def document(self) -> dict[str, Any]:
        """As the container has it."""
        return {
            "kind": self.kind,
            "layers": [layer.document() for layer in self.layers],
            "queries": self.queries,
            "readout": weights(self.readout),
        }


@dataclass(frozen=True, eq=False)
class HeatMap:
    """One map of a method.

    Attributes:
        method: Its registered name.
        title: In words.
        says: What it shows, to follow "shows"; why there is none, where it is missing.
        formula: What was computed.
        unit: Of its values.
        values: Raw; None where it is missing.
        shared: Ends of a scale that all images of a run share.
        knows_class: Whether it depends on the class explained.
        is_signed: Whether values below zero speak against it.
        state: "drawn", "empty" (no positive evidence) or "missing".
    """

    method: str
    title: str
    says: str
    formula: str
    unit: str
    values: Float[np.ndarray, "row column"] | None
    shared: tuple[float, float] | None = None
    knows_class: bool = True
    is_signed: bool = False
    state: MapState = "drawn"

    def document(self) -> dict[str, Any]:
        """As the container has it."""
        rows, columns = (0, 0) if self.values is None else self.values.shape
        kept = {name: value for name, value in vars(self).items() if name != "values"}
        values = None if self.values is None else Plain(self.values.astype(np.float32))
        return {**kept, "rows": rows, "columns": columns, "values": values}


@dataclass(frozen=True, eq=False)
class Model:
    """One model's view of the image.

    Attributes:
        key: Short and unique among the models of a subject: "vit", "cnn".
        kind: "vit", "cnn" or "encoder-decoder".
        name: What the user called it.
        answer: What it says.
        logits: Its likeliest classes.
        layout: Of its tokens.
        attention: Where it can be laid on the image.
        heads: Over all images, where a run measured them.
        maps: By all methods.
    """

    key: str
    kind: Literal["vit", "cnn", "encoder-decoder"]
    name: str
    answer: Answer | None = None
    logits: tuple[ClassScore, ...] = ()
    layout: TokenLayout | None = None
    attention: AttentionLayers | None = None
    heads: tuple[HeadFacts, ...] = ()
    maps: tuple[HeatMap, ...] = ()

    def document(self) -> dict[str, Any]:
        """As the container has it."""
        layout = self.layout
        return {
            "key": self.key,
            "kind": self.kind,
            "name": self.name,
            "answer": None if self.answer is None else asdict(self.answer),
            "logits": [asdict(score) for score in self.logits] or None,
            "layout": None
            if layout is None
            else {
                "rows": layout.rows,
                "columns": layout.columns,
                "prefix": list(layout.prefix),
                "readout": layout.readout,
            },
            "attention": None if self.attention is None else self.attention.document(),
            "heads": [asdict(head) for head in self.heads],
            "maps": [found.document() for found in self.maps],
        }


@dataclass(frozen=True, eq=False)
class Subject:
    """One image.

    Attributes:
        id: Unique among the subjects of a page.
        title: What to call it.
        pixels: As they are shown.
        models: One or more.
        label: Its true class.
        note: What happened, such as "Only the ViT wrong".
        group: Key by which subjects are grouped, such as "vit-only".
    """

    id: str
    title: str
    pixels: UInt8[np.ndarray, "height width 3"]
    models: tuple[Model, ...]
    label: str | None = None
    note: str | None = None
    group: str | None = None

    def pack(self) -> bytes:
        """The container that a page reads."""
        height, width = self.pixels.shape[:2]
        return pack(
            {
                "schema": SCHEMA,
                "id": self.id,
                "title": self.title,
                "label": self.label,
                "note": self.note,
                "image": {"width": width, "height": height, "pixels": Plain(self.pixels)},
                "models": [model.document() for model in self.models],
            }
        )

    def readout_only(self) -> "Subject":
        """The same without full patterns: tens of kilobytes, for pages that hold many."""
        models = tuple(
            model if model.attention is None else replace(model, attention=model.attention.without_patterns())
            for model in self.models
        )
        return replace(self, models=models)

    def entry(self) -> dict[str, Any]:
        """What a list of subjects says of it."""
        return {name: getattr(self, name) for name in ("id", "title", "label", "note", "group")}


def pack_rows(rows: Float[np.ndarray, "layer head key"]) -> bytes:
    """What a server answers when it is asked for the rows of one query of a model without stored patterns."""
    return pack({"schema": SCHEMA, "rows": weights(rows)})


def weights(values: Float[np.ndarray, "*axis"] | None) -> SquareRoot | Plain | None:
    """Attention as a block: 8 bits by its square root, or half floats where a model lets weights fall below zero."""
    if values is None:
        return None
    if values.size and values.min() < 0:  # talking heads mix their patterns with weights of any sign
        return Plain(values.astype(np.float16))
    return SquareRoot(values)


def likeliest(
    logits: Float[np.ndarray, " class_"], classes: Sequence[str], most: int
) -> tuple[ClassScore, ...]:
    """At most so many classes, likeliest first."""
    logits = np.asarray(logits, np.float64)
    shares = np.exp(logits - logits.max())
    shares /= shares.sum()
    order = np.argsort(-logits, kind="stable")[:most]
    return tuple(
        ClassScore(class_name(classes, int(place)), float(logits[place]), float(shares[place]))
        for place in order
    )


def class_name(classes: Sequence[str], number: int) -> str:
    """What class `number` is called."""
    return classes[number] if number < len(classes) else f"class {number}"


def layout_from(facts: Mapping[str, Any] | None) -> TokenLayout | None:
    """The token layout that a run describes."""
    if not facts:
        return None
    return TokenLayout(
        rows=facts["rows"],
        columns=facts["columns"],
        prefix=tuple(facts.get("prefix") or ()),
        readout=facts.get("readout", "class_token"),
        order=facts.get("order", "flat"),
    )
