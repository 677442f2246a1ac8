"""Kinds of failure: how many failures are of each, with examples; the slices, looks and hidden patches behind them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from archaeology.core.names import plural
from archaeology.core.pictures import data_uri
from archaeology.dig.directory import RunDirectory
from archaeology.figures._dissection import NAMES
from archaeology.figures.words import count, percent, tight
from archaeology.report.attack_terms import AttackTerm
from archaeology.report.pictures import heat_colours

DISSECTION_FIGURES = ("reliability", "failure_attention", "slices", "mending")
SIDE, SPACE, MOST_EXAMPLES = 64, 3, 3
PAPER = (254, 254, 253)
QUALITY = 82
TERMS = {  # what of the document, and how it is explained
    "calibration": AttackTerm(
        "Calibration error (ECE)",
        "mean over images of |mean confidence of the bin - share right in the bin|",
        "In 15 bins of equal width. The temperature divides all logits by one number and is judged on other images.",
        "Naeini et al., 2015; Guo et al., 2017",
    ),
    "slices": AttackTerm(
        "Slices",
        "log w + log N(z | mean, variance) + 10 log P(label) + 10 sum of p log P(answer)",
        "A mixture over features, label and answer, found on half of the images and tested on the other, where images "
        "are sorted without their answers.",
        "after Eyuboglu et al., 2022",
    ),
    "kinds": AttackTerm(
        "Kinds of failure",
        "",
        "Rules with thresholds stated in advance, printed beside their counts; an image may be of several kinds. "
        "A suspicion about a label comes from two models that agree, and is to be checked by people.",
        "after Northcutt et al., 2021",
    ),
    "attention": AttackTerm(
        "Attention where it fails",
        "coefficient of failure beside one mean for each class",
        "Failures against successes of the same class, with intervals that let both vary unequally.",
        "MacKinnon and White, 1985",
    ),
    "mending": AttackTerm(
        "Mending",
        "share right with the attended region hidden - share right with as many random patches hidden",
        "What is hidden is told by the map alone, before the model is asked again.",
        "",
    ),
}


@dataclass(frozen=True)
class Strip:
    """Some images side by side as one picture.

    Attributes:
        uri: Data URI.
        words: What they are, in order, for those who cannot see them and as the caption.
        width: In pixels of the page.
        height: Likewise.
    """

    uri: str
    words: str
    width: int
    height: int


@dataclass(frozen=True)
class KindCell:
    """How many failures of one model are of a kind, in words, with examples."""

    number: str
    among_right: str
    strip: Strip | None


@dataclass(frozen=True)
class KindRow:
    """One kind of failure for both models."""

    title: str
    rule: str
    cells: tuple[KindCell, ...]


@dataclass(frozen=True)
class Exhibit:
    """A sentence with images beneath it."""

    text: str
    strip: Strip | None


@dataclass(frozen=True)
class Dissection:
    """The section.

    Attributes:
        lead: How many failures were taken apart, of how many images.
        models: Names of the columns of `rows`.
        rows: Kinds, in the order of the rules.
        notes: What the kinds do not explain, and what could not be told.
        slices: Slices that are worse after correction over the slices of their model, with their images.
        looks: Failures beside successes of the same class, with rollout; None without attention.
        mended: Images that were named right once the attended region was hidden, model by model.
        missing: What could not be measured, with reasons.
    """

    lead: str
    models: tuple[str, ...]
    rows: tuple[KindRow, ...]
    notes: tuple[str, ...]
    slices: tuple[Exhibit, ...]
    looks: Exhibit | None
    mended: tuple[Exhibit, ...]
    missing: tuple[tuple[str, str], ...]


def dissection(run: RunDirectory) -> Dissection | None:
    """The section; None for a run whose failures were not taken apart."""
    document = run.dissection
    if not document:
        return None
    gallery = Gallery.of(run)
    sorted_kinds = document.get("kinds") or {}
    models = tuple(role for role in NAMES if role in sorted_kinds)
    return Dissection(
        lead=tight(_lead(document)),
        models=tuple(NAMES[role] for role in models if sorted_kinds[role]["counts"]),
        rows=_rows(sorted_kinds, models, gallery),
        notes=tuple(tight(line) for role in models for line in _notes(NAMES[role], sorted_kinds[role])),
        slices=tuple(_slices(document, gallery)),
        looks=_looks(document, gallery),
        mended=tuple(_mended(document, gallery)),
        missing=tuple((str(part), str(reason)) for part, reason in (document.get("missing") or {}).items()),
    )


def terms_used(document: Mapping[str, Any]) -> tuple[AttackTerm, ...]:
    """What of the document is explained under methods."""
    return tuple(term for part, term in TERMS.items() if document.get(part))


def _lead(document: Mapping[str, Any]) -> str:
    kinds = document.get("kinds")
    if not kinds:
        return "Failures were not taken apart; calibration is read off the answers that were there anyway."
    said = [f"{plural(int(kinds[role]['num_failures']), 'failure')} of the {NAMES[role]}" for role in kinds]
    share = f"{count(int(document['dissected']))} of {plural(int(document['n']), 'image')}"
    return (
        f"{' and '.join(said)} on {share} were held against rules whose thresholds were set before. A failure may be "
        "of several kinds, or of none. Where a rule does not ask how a model erred, the share of images named right "
        "that it holds for stands beside it: a kind that is no more frequent among failures explains none of them."
    )


def _rows(sorted_kinds: Mapping[str, Any], models: Sequence[str], gallery: "Gallery") -> tuple[KindRow, ...]:
    having = [role for role in models if sorted_kinds[role]["counts"]]
    by_name = {role: {row["name"]: row for row in sorted_kinds[role]["counts"]} for role in having}
    order: dict[str, Mapping[str, Any]] = {}
    for rows in by_name.values():
        order |= {name: row for name, row in rows.items() if name not in order}
    return tuple(
        KindRow(
            str(row["title"]),
            tight(str(row["rule"])),
            tuple(_cell(by_name[role].get(name), role, gallery) for role in having),
        )
        for name, row in order.items()
    )


def _cell(row: Mapping[str, Any] | None, role: str, gallery: "Gallery") -> KindCell:
    if row is None:
        return KindCell("not known", "", None)
    among = row["among_right"]
    return KindCell(
        f"{count(int(row['count']))} of {count(int(row['share']['n']))}: {_share(row['share'])}",
        "" if among is None else f"of those named right {_share(among)}",
        gallery.strip([int(one) for one in row["examples"]][:MOST_EXAMPLES], role),
    )


def _share(found: Mapping[str, Any]) -> str:
    return f"{percent(found['value'])} ({percent(found['low'])} to {percent(found['high'])})"


def _notes(name: str, found: Mapping[str, Any]) -> list[str]:
    if found["reason"]:
        return [f"{name}: {found['reason']}."]
    rest = found["unexplained"]
    said = [f"{name}: {_share(rest)} of {plural(int(rest['n']), 'failure')} meet no rule."] if rest else []
    return said + [f"{name}, {title}: {reason}." for title, reason in found["missing"].items()]


def _slices(document: Mapping[str, Any], gallery: "Gallery") -> list[Exhibit]:
    classes = document.get("classes_named") or []
    found = []
    for role, survey in (document.get("slices") or {}).items():
        for one in (one for one in survey["slices"] if one["is_claimed"]):
            like = "; ".join(row["words"] for row in one["attributes"])
            mistaken = f", most often taken for {classes[one['answer']]}" if one["answer"] is not None else ""
            text = (
                f"{NAMES[role]}: {plural(int(one['n']), 'image')}, {percent(one['label_share'], 0)} of class "
                f"{classes[one['label']]}{mistaken}; {like or 'no attribute differs after correction'}. Right: "
                f"{_share(one['accuracy'])}, all others {_share(one['rest'])} (tested within classes, corrected "
                "over the slices of this model, not over all that the run asked)."
            )
            rows = [int(row) for row in one["examples"]]
            found.append(Exhibit(tight(text), gallery.strip(rows, role)))
    return found


def _looks(document: Mapping[str, Any], gallery: "Gallery") -> Exhibit | None:
    pairs = (document.get("attention") or {}).get("pairs") or []
    strip = gallery.pairs([(int(first), int(second)) for first, second in pairs])
    if strip is None:
        return None
    text = (
        "The surest failures of the ViT, each above the surest success of the same class, with rollout beside each "
        "image (brighter: more; every map on its own scale). Chosen by confidence, not by what the maps show."
    )
    return Exhibit(text, strip)


def _mended(document: Mapping[str, Any], gallery: "Gallery") -> list[Exhibit]:
    found = []
    for role, one in (document.get("mending") or {}).items():
        strip = gallery.strip([int(row) for row in one["examples"]], role)
        if strip is not None:
            hidden = f"Named right by the {NAMES[role]} once these were hidden: {one['rule']}."
            found.append(Exhibit(tight(hidden), strip))
    return found


@dataclass(frozen=True)
class Gallery:
    """Thumbnails of the images that the document names, by their row in `images.parquet`.

    Attributes:
        photos: 64 pixels on the longer side.
        maps: Rollout over the same, where it is known.
        facts: What is said of each.
    """

    photos: Mapping[int, Image.Image]
    maps: Mapping[int, Image.Image]
    facts: Mapping[int, Mapping[str, Any]]

    @classmethod
    def of(cls, run: RunDirectory) -> "Gallery":
        """Those of a run; empty where it keeps none."""
        group = run.dissected
        facts = {int(one["row"]): one for one in (run.dissection or {}).get("images") or ()}
        if group is None:
            return cls({}, {}, facts)
        rows = [int(row) for row in np.asarray(group["row"])]
        photos = {
            row: _thumbnail(picture) for row, picture in zip(rows, np.asarray(group["pixels"]), strict=True)
        }
        maps: dict[int, Image.Image] = {}
        if "rollout" in group:
            for row, heat in zip(rows, np.asarray(group["rollout"]), strict=True):
                maps[row] = _overlaid(photos[row], heat)
        return cls(photos, maps, facts)

    def strip(self, rows: Sequence[int], role: str) -> Strip | None:
        """Images side by side; None where none of them is kept."""
        kept = [row for row in rows if row in self.photos]
        if not kept:
            return None
        return _strip([[self.photos[row] for row in kept]], "; ".join(self._words(row, role) for row in kept))

    def pairs(self, pairs: Sequence[tuple[int, int]]) -> Strip | None:
        """Failures above successes, each with its map beside it; None where no map is kept."""
        kept = [pair for pair in pairs if all(row in self.maps for row in pair)]
        if not kept:
            return None
        lines = [
            [picture for pair in kept for picture in (self.photos[pair[at]], self.maps[pair[at]])]
            for at in (0, 1)
        ]
        words = "; ".join(self._words(pair[0], "vit") for pair in kept)
        return _strip(lines, f"Above, from the left: {words}. Below: successes of the same classes.")

    def _words(self, row: int, role: str) -> str:
        fact = self.facts.get(row)
        if fact is None:
            return f"image {row}"
        return f"{fact['label']} called {fact[role]} ({percent(float(fact[f'{role}_confidence']), 0)})"


def _thumbnail(pixels: np.ndarray) -> Image.Image:
    array = np.moveaxis(np.asarray(pixels), 0, -1)
    image = Image.fromarray(array[..., 0] if array.shape[-1] == 1 else array).convert("RGB")
    scale = SIDE / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    smooth = Image.Resampling.LANCZOS if scale < 1 else Image.Resampling.NEAREST
    return image.resize(size, smooth)


def _overlaid(photo: Image.Image, heat: np.ndarray) -> Image.Image:
    """The map in colours over the grey photo."""
    share = np.nan_to_num(heat.astype(np.float64) - np.nanmin(heat))
    share = share / share.max() if share.max() > 0 else share
    colours = heat_colours()
    painted = colours[np.rint(share * (len(colours) - 1)).astype(int)].astype(np.uint8)
    layer = Image.fromarray(painted, "RGBA").resize(photo.size, Image.Resampling.NEAREST)
    grey = photo.convert("L").convert("RGBA")
    return Image.alpha_composite(grey, layer).convert("RGB")


def _strip(lines: Sequence[Sequence[Image.Image]], words: str) -> Strip:
    wide = max(sum(picture.width + SPACE for picture in line) - SPACE for line in lines)
    heights = [max(picture.height for picture in line) for line in lines]
    tall = sum(heights) + SPACE * (len(lines) - 1)
    sheet, top = Image.new("RGB", (wide, tall), PAPER), 0
    for line, height in zip(lines, heights, strict=True):
        left = 0
        for picture in line:
            sheet.paste(picture, (left, top))
            left += picture.width + SPACE
        top += height + SPACE
    return Strip(data_uri(sheet, "WEBP", quality=QUALITY, method=4), words, wide, tall)
