"""Subjects of a finished dig: what it stored of the images it shows, laid out as the explorer wants it.

Runs of older versions have fewer maps, and attention of fewer images; what is not there is left out.
"""

import io
import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image

from archaeology.core.registry import unknown_name
from archaeology.dig.directory import RunDirectory
from archaeology.dig.labels import plain_name
from archaeology.dig.seen_attention import LongFactors
from archaeology.explorer.maps import heat_map, missing_map, shared_ends
from archaeology.explorer.outcomes import OUTCOMES
from archaeology.explorer.run_attention import RunAttention
from archaeology.explorer.subject import (
    Answer,
    ClassScore,
    Effect,
    HeadFacts,
    HeatMap,
    Model,
    Subject,
    class_name,
    layout_from,
)

ROLES = ("vit", "cnn")
THUMBNAIL = 96  # pixels along the longer side
OF_OLD_RUNS = {  # array -> model and method, in runs that do not say
    "rollout": ("vit", "rollout"),
    "grad_cam_vit": ("vit", "grad_cam"),
    "grad_cam": ("cnn", "grad_cam"),
}


class RunSubjects:
    """The images that a run shows, each made into a subject when it is asked for.

    Attributes:
        run: The run directory.
    """

    def __init__(self, run: RunDirectory) -> None:
        """Read the list of images."""
        self.run = run
        self._group = run.specimens
        self._attributes: dict[str, Any] = dict(run.specimens.attrs)
        rows = [int(row) for row in np.asarray(self._group["image_index"])]
        facts = run.images.take(rows).to_pylist()
        self._facts = {str(row): fact for row, fact in zip(rows, facts, strict=True)}
        self._place = {str(row): place for place, row in enumerate(rows)}
        self._attention = RunAttention(run)
        self._cached: dict[str, np.ndarray] = {}

    @cached_property
    def ids(self) -> list[str]:
        """All ids: images with whole patterns first, and among them the worst failures."""
        return sorted(
            self._facts,
            key=lambda name: (not self._attention.is_whole(int(name)), -self._severity(name), int(name)),
        )

    def entries(self) -> list[dict[str, Any]]:
        """The list of subjects: id, title, label, note and group of each."""
        return [self._entry(name) for name in self.ids]

    def subject(self, name: str) -> Subject:
        """One image with everything.

        Raises:
            UnknownNameError: If the run shows no image of this id.
        """
        entry = self._entry(name)
        pixels = np.ascontiguousarray(np.moveaxis(self._array("pixels")[self._place[name]], 0, -1))
        models = tuple(self._model(role, name) for role in ROLES)
        return Subject(name, entry["title"], pixels, models, entry["label"], entry["note"], entry["group"])

    def thumbnail(self, name: str) -> bytes:
        """A small PNG of an image.

        Raises:
            UnknownNameError: If the run shows no image of this id.
        """
        self._entry(name)
        picture = Image.fromarray(np.moveaxis(self._array("pixels")[self._place[name]], 0, -1))
        picture.thumbnail((THUMBNAIL, THUMBNAIL), Image.Resampling.LANCZOS)
        buffer = io.BytesIO()
        picture.save(buffer, "PNG")
        return buffer.getvalue()

    def rows(self, name: str, query: int) -> Float[np.ndarray, "layer head key"]:
        """What a token pays to all tokens in every layer, for a run that kept queries and keys instead of patterns.

        Raises:
            UnknownNameError: If the run shows no image of this id.
            ValueError: If the run kept none of this image, or there is no such token.
        """
        self._entry(name)
        layout = layout_from(self.run.run["models"]["vit"].get("layout"))
        found = self._attention.factors(int(name))
        if found is None or layout is None:
            raise ValueError(
                f"rows need queries and keys, but {self.run.path} keeps none of image {name}; its subject holds all "
                "that was stored."
            )
        queries, keys, scales = found
        factors = LongFactors(torch.from_numpy(queries)[None], torch.from_numpy(keys)[None], tuple(scales))
        return factors.rows(0, query, layout).numpy()

    def _entry(self, name: str) -> dict[str, Any]:
        if name not in self._facts:
            raise unknown_name("image of this run", name, list(self._facts))
        fact = self._facts[name]
        label = fact["label_name"] or (None if fact["label"] is None else f"class {fact['label']}")
        group = fact["failure"] or self._agreement(fact)
        title = str(fact["id"]) if label is None else f"{label}, {fact['id']}"
        return {"id": name, "title": title, "label": label, "note": OUTCOMES.get(group), "group": group}

    def _agreement(self, fact: Mapping[str, Any]) -> str:
        names = {plain_name(fact[f"{role}_prediction_name"] or "") for role in ROLES}
        return "agree" if len(names) == 1 else "disagree"

    def _severity(self, name: str) -> float:
        """How surely the models were wrong, or of two minds."""
        fact = self._facts[name]
        group = fact["failure"] or self._agreement(fact)
        blamed = {"vit-only": ("vit",), "cnn-only": ("cnn",), "none": (), "agree": ()}.get(group, ROLES)
        return float(sum(fact[f"{role}_confidence"] for role in blamed))

    def _model(self, role: str, name: str) -> Model:
        facts, fact = self.run.run["models"][role], self._facts[name]
        classes = facts.get("classes") or ()
        answer = fact[f"{role}_prediction_name"] or class_name(classes, int(fact[f"{role}_prediction"]))
        is_vit = role == "vit"
        return Model(
            role,
            "vit" if is_vit else "cnn",
            facts["name"],
            Answer(answer, float(fact[f"{role}_confidence"]), fact[f"{role}_correct"]),
            self._scores(role, name, classes),
            layout_from(facts.get("layout")),
            self._attention.of_image(int(name)) if is_vit else None,
            self._heads if is_vit else (),
            tuple(self._map(role, method, name) for method in self._methods(role)) + self._missing(role),
        )

    def _scores(self, role: str, name: str, classes: Sequence[str]) -> tuple[ClassScore, ...]:
        if f"{role}_top" not in self._group:
            return ()
        place = self._place[name]
        found = (
            self._array(f"{role}_{kind}")[place].tolist() for kind in ("top", "top_logit", "top_probability")
        )
        return tuple(ClassScore(class_name(classes, at), *rest) for at, *rest in zip(*found, strict=True))

    def _methods(self, role: str) -> dict[str, dict[str, Any]]:
        """How each method's maps were made, by its name; the one that the run chose comes first."""
        chosen = (self._attributes.get("maps") or {}).get(role)
        listed: dict[str, dict[str, Any]] = dict((self._attributes.get("methods") or {}).get(role) or {})
        if not listed:
            if chosen:
                listed[chosen["method"]] = {**chosen, "array": f"{role}_map"}
            for array, (whose, method) in OF_OLD_RUNS.items():
                if whose == role:
                    listed.setdefault(method, {"array": array})
        first = [chosen["method"]] if chosen and chosen["method"] in listed else []
        ordered = {method: listed[method] for method in (*first, *listed)}
        return {method: made for method, made in ordered.items() if made["array"] in self._group}

    def _map(self, role: str, method: str, name: str) -> HeatMap:
        key = f"{role} {method}"
        if key not in self._scales:
            made = [self._drawn(role, method, place) for place in self._place.values()]
            self._scales[key] = shared_ends(made)
        found = self._drawn(role, method, self._place[name])
        return HeatMap(**{**vars(found), "shared": self._scales[key]})

    @cached_property
    def _scales(self) -> dict[str, tuple[float, float] | None]:
        return {}

    def _drawn(self, role: str, method: str, place: int) -> HeatMap:
        made = self._methods(role)[method]
        values = self._array(made["array"])[place]
        is_signed = bool(made.get("is_signed"))
        return heat_map(method, values, str(made.get("formula") or ""), is_signed=is_signed)

    def _missing(self, role: str) -> tuple[HeatMap, ...]:
        reasons = (self._attributes.get("methods_missing") or {}).get(role) or {}
        return tuple(missing_map(method, reason) for method, reason in reasons.items())

    @cached_property
    def _heads(self) -> tuple[HeadFacts, ...]:
        """Of the layers that are shown: a layer of the table is found by its module."""
        layers = {module: number for number, module in enumerate(self._attributes.get("layers") or [])}
        columns = set(self.run.heads.column_names)
        found = []
        rows = self.run.heads.to_pylist()
        tried = sum(_finite(row.get("ablation_accuracy")) is not None for row in rows)
        for row in rows:
            if row["module"] not in layers:
                continue
            numbers = {
                name: _finite(row[name]) if name in columns else None
                for name in ("entropy", "distance", "participation", "class_token_mass")
            }
            head = HeadFacts(
                layers[row["module"]],
                int(row["head"]),
                row.get("label"),
                **numbers,
                effect=_effect(row, tried),
            )
            found.append(head)
        return tuple(found)

    def _array(self, name: str) -> np.ndarray:
        """An array of the run that is small enough to be kept once read."""
        if name not in self._cached:
            self._cached[name] = np.asarray(self._group[name])
        return self._cached[name]


def _effect(row: Mapping[str, Any], tried: int) -> Effect | None:
    """What accuracy loses without the head, where that was measured, as it was of so many heads."""
    ends = [_finite(row.get(f"ablation_accuracy{part}")) for part in ("", "_low", "_high")]
    value, low, high = ends
    if value is None or low is None or high is None:
        return None
    return Effect(value, low, high, int(row["ablation_n"]), tried, row.get("verdict"))


def _finite(value: float | None) -> float | None:
    return float(value) if value is not None and math.isfinite(value) else None
