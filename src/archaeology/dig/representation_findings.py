"""Findings about what layers know: where the class becomes readable, by what token, and how alike the models are.

Differences on the same images have McNemar's p-value, ratios and CKA one read off their intervals; where the most
extreme of several layers is named, its p-value counts as often as there were layers to choose from. Tokens of high norm
have a figure but no finding: their threshold is the valley of the same norms, so that no p-value answers for it.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from archaeology.core.layer_names import layer_name, layer_numbers
from archaeology.core.names import plural, short_name
from archaeology.dig.finding import (
    CAP,
    Finding,
    Row,
    distance_from,
    interval,
    measured,
    number,
    p_between,
    p_of,
    percent,
    points,
    side,
    turned,
    unanswered,
)

NEARLY = 0.9  # of the last layer's accuracy beyond chance: such a layer already knows the class
READOUTS = {
    "class_token": "the class token",
    "mean_patches": "the mean of the patches",
    "registers": "the registers",
}
HOW = {"knn": "by nearest neighbours", "probe": "by a linear probe"}


def representation_findings(document: Mapping[str, Any]) -> list[Finding]:
    """Every question asked of the document, answered or not."""
    reading = document.get("reading") or {}
    return [
        *(
            _early(curve, reading, layer_numbers(document, curve["specimen"]))
            for curve in main_curves(reading)
        ),
        *(_compared(row, int(reading["num_known"])) for row in reading.get("compared") or ()),
        *_few_shot(document.get("few_shot") or {}),
        *_similarity(document),
        *(_objects(found) for found in (document.get("objects") or {}).get("scores") or ()),
    ]


def main_curves(reading: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """One curve for each model: of what its own answer is read from; where that is not told, of the class token."""
    chosen: dict[str, Mapping[str, Any]] = {}
    for curve in reading.get("curves") or ():
        if curve.get("is_main", curve["readout"] == "class_token") or curve["specimen"] not in chosen:
            chosen[curve["specimen"]] = curve
    return list(chosen.values())


def _early(curve: Row, reading: Row, numbers: Mapping[str, int | None]) -> Finding:
    """Does a layer before the last already know nearly as much?"""
    table: Sequence[Row] = curve["table"]
    last, k, n = table[-1], int(reading["main_k"]), int(reading["num_asked"])
    known, chance = interval(last, f"knn_{k}"), number(reading["chance"])
    earlier = [row for row in table[:-1] if row.get("knn_of_last") is not None]
    if not earlier or known["low"] <= chance:
        return unanswered("layer_reading", 1.0)
    shares = [interval(row, "knn_of_last") for row in earlier]
    p_values = [
        p_of(share, NEARLY, tried=len(shares)) if share["value"] > NEARLY else 1.0 for share in shares
    ]
    sure = [
        at
        for at, (share, p) in enumerate(zip(shares, p_values, strict=True))
        if share["low"] > NEARLY and p < 0.05 and interval(earlier[at], f"knn_{k}")["low"] > chance
    ]
    if not sure:
        return unanswered("layer_reading", min(p_values))
    first = sure[0]
    share, row = shares[first], interval(earlier[first], f"knn_{k}")
    place = layer_name(str(earlier[first]["layer"]), numbers)
    text = (
        f"The {k} nearest neighbours of {n:,} images name {percent(row['value'])} right after {place} "
        f"({percent(row['low'])} to {percent(row['high'])}) and {percent(known['value'])} after the last: of what the "
        f"last knows beyond chance ({percent(chance)}), {percent(share['value'])} (95 % interval "
        f"{percent(share['low'])} to {percent(share['high'])}), with {reading['num_known']:,} other images known."
    )
    title = f"{place[:1].upper()}{place[1:]} of {short_name(curve['specimen'])} already knows the class"
    return Finding(
        title,
        text,
        "layer_reading",
        min(CAP, distance_from(NEARLY, share)),
        p_values[first],
        measured("of the last layer's accuracy beyond chance", share, "%", n),
    )


def _compared(row: Row, num_known: int) -> Finding:
    """Does one readout, or one model, surely know more in its last layer?"""
    gap, p_value, n = interval(row, "difference"), number(row["p"]), int(row["n"])
    if not side(gap):
        return unanswered("layer_reading", p_value)
    names = [short_name(row["specimen"]), short_name(row["other"])]
    readouts = [READOUTS.get(row[key], row[key].replace("_", " ")) for key in ("readout", "other_readout")]
    if gap["value"] < 0:
        gap, names, readouts = turned(gap), names[::-1], readouts[::-1]
    if row["specimen"] == row["other"]:
        title = f"In {names[0]} {readouts[0]} knows more of the class than {readouts[1]}, {HOW[row['what']]}"
        what = f"{readouts[0]} and {readouts[1]} of its last layer"
    else:
        title = f"The last layer of {names[0]} knows more of the class than that of {names[1]}, {HOW[row['what']]}"
        what = f"{readouts[0]} of {names[0]} and {readouts[1]} of {names[1]}"
    text = (
        f"Asked about the same {plural(n, 'image')} {HOW[row['what']]}, {what} differ by {points(gap['value'])} "
        f"(95 % interval {points(gap['low'])} to {points(gap['high'])}); {num_known:,} other images were known."
    )
    measure = measured("more named right", gap, "points", n)
    return Finding(title, text, "layer_reading", distance_from(0.0, gap), p_value, measure)


def _few_shot(found: Row) -> Iterator[Finding]:
    """Which model needs fewer labels? Asked of the fewest and of five, not of every number of labels."""
    rows = [row for row in found.get("compared") or () if row["shots"] in (1, 5)]
    for row in rows:
        gap, one, other = interval(row, "difference"), str(row["specimen"]), str(row["other"])
        p_value = p_of(gap) if row.get("p") is None else number(row["p"])
        if not side(gap):
            yield unanswered("few_shot", p_value)
            continue
        if gap["value"] < 0:
            gap, one, other = turned(gap), other, one
        labels = "one label" if row["shots"] == 1 else f"{row['shots']} labels"
        shares = {
            curve["specimen"]: next(at["accuracy"] for at in curve["table"] if at["shots"] == row["shots"])
            for curve in found["curves"]
        }
        text = (
            f"A probe on its last layer that saw {labels} of each of {found['num_classes']} classes names "
            f"{percent(shares[one])} of {plural(found['n'], 'image')} right, on {short_name(other)} "
            f"{percent(shares[other])}: "
            f"{points(gap['value'])} more (95 % interval over {found['draws']} draws of labels and over images "
            f"{points(gap['low'])} to {points(gap['high'])})."
        )
        yield Finding(
            f"With {labels} for each class {short_name(one)} says more than {short_name(other)}",
            text,
            "few_shot",
            distance_from(0.0, gap),
            p_value,
            measured("more named right", gap, "points", int(found["n"])),
        )


def _similarity(document: Row) -> Iterator[Finding]:
    """Are two models most alike at their ends, at their beginnings or in between?"""
    found = next((one for one in document.get("similarity") or () if one["first"] != one["second"]), None)
    if found is None:
        return
    value, low, high = (np.array(found[key], dtype=float) for key in ("cka", "low", "high"))
    if not np.isfinite(value).any():
        return
    best = np.unravel_index(int(np.nanargmax(value)), value.shape)

    def at(row: int, column: int) -> dict[str, float]:
        return {
            "value": float(value[row, column]),
            "low": float(low[row, column]),
            "high": float(high[row, column]),
        }

    top, end = at(int(best[0]), int(best[1])), at(value.shape[0] - 1, value.shape[1] - 1)
    freedom = max(1, int(found.get("batches") or 2) - 1)
    p_value = p_between(top, end, tried=value.size - 1, freedom=freedom)
    names = [short_name(found[key]) for key in ("first", "second")]
    if not top["low"] > end["high"]:  # also where an end is not known
        yield unanswered("layer_similarity", p_value)
        return
    places = [
        layer_name(found[f"{key}_layers"][int(place)], layer_numbers(document, found[key]))
        for key, place in zip(("first", "second"), best, strict=True)
    ]
    text = (
        f"Over the same {plural(found['n'], 'image')}, {places[0]} of {names[0]} and {places[1]} of {names[1]} "
        f"have a CKA of "
        f"{top['value']:.2f} (95 % interval {top['low']:.2f} to {top['high']:.2f}; 1: the same images are alike to "
        f"both), their last layers {end['value']:.2f} ({end['low']:.2f} to {end['high']:.2f})."
    )
    yield Finding(
        f"{names[0]} and {names[1]} agree most at {places[0]} and {places[1]}, not in what they end with",
        text,
        "layer_similarity",
        min(
            CAP,
            (top["value"] - end["value"]) / max(top["value"] - top["low"], end["high"] - end["value"], 1e-9),
        ),
        p_value,
        measured("CKA there", top, "", int(found["n"])),
    )


def _objects(found: Row) -> Finding:
    """Do the patches alone show where the object is, better than a box in the middle of the image?"""
    gain = interval(found, "gain")
    p_value = p_of(gain)
    if side(gain) <= 0:
        return unanswered("patch_objects", p_value)
    overlap, middle = interval(found, "overlap"), interval(found, "middle_overlap")
    text = (
        f"Boxes cut out of the patches of {short_name(found['specimen'])}, without labels, cover the true box to "
        f"{percent(overlap['value'])} (overlap over union), a box in the middle to {percent(middle['value'])}: "
        f"{points(gain['value'])} more on the same {plural(found['n'], 'image')} (95 % interval "
        f"{points(gain['low'])} to "
        f"{points(gain['high'])})."
    )
    return Finding(
        f"The patches of {short_name(found['specimen'])} show where the object is without being asked",
        text,
        "patch_objects",
        distance_from(0.0, gain),
        p_value,
        measured("overlap beyond a box in the middle", gain, "points", int(found["n"])),
    )
