"""What is asked of both models about images that they fail on: features, attention, maps, hidden regions, part by part.

Every part is kept when it is done, and found again by what it was made of.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from archaeology.core.seeding import numpy_generator
from archaeology.core.storage import sha256_of
from archaeology.dig.config import DigConfig
from archaeology.dig.dissecting_answers import Case
from archaeology.dig.judging import Judged
from archaeology.dig.maps import Named, shown_method
from archaeology.dig.parts import Arrays, Parts
from archaeology.dig.shown_methods import CHEAP
from archaeology.dig.survey import Images, each_chunk
from archaeology.evaluate.patches import patch_values
from archaeology.evaluate.trial import trial_of
from archaeology.explain.method import explain_images
from archaeology.failures.attention import (
    AttentionLook,
    attention_look,
    compare_attention,
    mass_over_even,
    specimens_of,
)
from archaeology.failures.attributes import attributes_of
from archaeology.failures.mending import Mending, disputed_region, hide_region, outside_region
from archaeology.failures.slices import SliceSurvey, find_slices
from archaeology.failures.taxonomy import Evidence, kinds, sort_failures
from archaeology.represent.features import extract_features
from archaeology.represent.places import layer_paths
from archaeology.stats.scene import inside_boxes, inside_masks

FORMAT = "2"  # of the parts of this stage
CHUNK = 25
MOST_WRONG, MOST_RIGHT = 150, 60  # images of each kind that patches are hidden from
SHOWN_PAIRS, SHOWN_MENDED = 6, 6
ROLES = {"vit": "cnn", "cnn": "vit"}


@dataclass
class Work:
    """One stage of a dig, part by part."""

    cases: Mapping[str, Case]
    prints: Mapping[str, str]
    judged: Mapping[str, Judged]
    images: Images
    parts: Parts
    config: DigConfig
    missing: dict[str, str]

    def all(self) -> tuple[dict[str, Any], Named]:
        """The document of all parts, rows counted within the images taken apart; and pixels and maps of those named."""
        labels = self.cases["vit"].labels
        decoded = self.images.decoded
        columns = attributes_of(np.asarray(decoded.images), boxes=decoded.boxes, masks=decoded.masks)
        maps = {role: self._map(role) for role in ROLES}
        look = self._look()
        document: dict[str, Any] = {
            "classes_named": [*self.images.decoded.classes, "another class"],
            "slices": {role: self._slices(role, columns) for role in ROLES},
            "kinds": self._kinds(columns, maps),
            "maps": {role: one.method for role, one in maps.items() if one is not None},
            "mending": self._mending(maps),
            "attention": None,
        }
        if look is not None:
            vit = self.cases["vit"]
            found = compare_attention(look, vit.right, labels, seed=self.config.seed)
            sure = vit.probabilities.max(axis=1)
            document["attention"] = {
                "gaps": [asdict(one) for one in found.gaps],
                "by_layer": [asdict(one) for one in found.by_layer],
                "missing": found.missing,
                "modules": look.modules,
                "pairs": specimens_of(vit.right, labels, sure, SHOWN_PAIRS),
            }
        named = sorted(_rows_in(document))
        document["images"] = [self._image(row) for row in named]
        return document, self._arrays(named, look)

    def _image(self, row: int) -> dict[str, Any]:
        names = [*self.images.decoded.classes, "another class"]
        said: dict[str, Any] = {
            "row": row,
            "id": self.images.decoded.ids[row],
            "label": names[self.cases["vit"].labels[row]],
        }
        for role, case in self.cases.items():
            said[role] = names[int(case.logits[row].argmax())]
            said[f"{role}_confidence"] = float(case.probabilities[row].max())
        return said

    def _arrays(self, named: list[int], look: AttentionLook | None) -> Named:
        if not named:
            return {}
        arrays: Named = {
            "row": (np.array(named, dtype=np.int64), ("image",)),
            "pixels": (
                np.asarray(self.images.decoded.images[named]),
                ("image", "channel", "height", "width"),
            ),
        }
        if look is not None:
            arrays["rollout"] = (look.rollout[named].astype(np.float32), ("image", "row", "column"))
        return arrays

    def _chunked(
        self,
        stage: str,
        role: str,
        extra: tuple[str, ...],
        compute: Callable[..., Arrays],
        rows: list[int] | None = None,
    ) -> Arrays:
        chosen = self.images if rows is None else self.images.only(rows)
        few = Images(chosen.decoded, chosen.hashes, CHUNK)
        decoded = chosen.decoded
        known = [
            b"" if one is None else np.ascontiguousarray(one).tobytes()
            for one in (decoded.boxes, decoded.masks)
        ]
        ingredients = (FORMAT, self.prints[role], str(self.config.seed), sha256_of(*known), *extra)
        found = each_chunk(f"dissect-{stage}-{role}", few, self.parts, ingredients, compute)
        return {name: np.concatenate([part[name] for part in found]) for name in found[0]}

    def _inside(self) -> Float[np.ndarray, "image patch"]:
        """Share of each patch that the object covers, NaN for images where it is not known."""
        decoded, grid, size = self.images.decoded, self._grid(), self.images.decoded.images.shape[-2:]
        found = np.full((len(self.images), grid[0] * grid[1]), np.nan)
        if decoded.masks is not None:
            for at in range(0, len(self.images), CHUNK):
                some = torch.from_numpy(np.array(decoded.masks[at : at + CHUNK]))
                found[at : at + CHUNK] = inside_masks(some, tuple(size), grid).numpy()
        if decoded.boxes is not None:  # for images without a mask
            boxed = inside_boxes(torch.from_numpy(np.array(decoded.boxes)), tuple(size), grid).numpy()
            found = np.where(np.isnan(found), boxed, found)
        return found

    def _look(self) -> AttentionLook | None:
        vit = self.cases["vit"].specimen
        inside = torch.from_numpy(self._inside())

        def of_chunk(batch: torch.Tensor, some: slice) -> Arrays:
            found = attention_look(vit, batch, inside[some])
            kept = ("entropy", "distance", "object_mass", "rollout_mass", "rollout")
            return {**{name: getattr(found, name) for name in kept}, "modules": np.array(found.modules)}

        try:
            found = dict(self._chunked("attention", "vit", (), of_chunk))
        except ValueError as error:
            self.missing["attention on failures"] = str(error)
            return None
        modules = found.pop("modules")[: found["entropy"].shape[1]]
        return AttentionLook(**found, modules=tuple(modules.tolist()))

    def _features(self, role: str) -> Float[np.ndarray, "image feature"]:
        specimen = self.cases[role].specimen
        layer = layer_paths(specimen)[-1]

        def of_chunk(batch: torch.Tensor, some: slice) -> Arrays:
            (found,) = extract_features(specimen, batch, layers=[layer], readout="mean_patches")
            return {"values": found.values}

        return self._chunked("features", role, (layer,), of_chunk)["values"]

    def _slices(self, role: str, columns: Mapping[str, np.ndarray]) -> dict[str, Any]:
        case = self.cases[role]
        try:
            features = self._features(ROLES[role]).astype(np.float64)
            found = find_slices(
                features, case.labels, case.probabilities, attributes=columns, seed=self.config.seed
            )
        except ValueError as error:
            found = SliceSurvey((), 0, 0, 0, str(error))
        said = asdict(found)
        for one, made in zip(said["slices"], found.slices, strict=True):
            one["is_claimed"] = made.is_claimed
            one["attributes"] = [{**asdict(gap), "words": gap.words} for gap in made.attributes]
        return {**said, "features_of": self.cases[ROLES[role]].specimen.name}

    def _map(self, role: str) -> "MapValues | None":
        """What each patch gets by the method shown of the model, and the share of the object."""
        case = self.cases[role]
        shown = shown_method(case.specimen, self.judged[role])
        method = None if shown is None else shown.method
        if method is not None and method not in CHEAP:
            method = shown_method(case.specimen, Judged(None)).method  # pyright: ignore[reportOptionalMemberAccess]
        if method is None:
            self.missing[f"maps of the {role}"] = "no method of explanation can draw a map of this model"
            return None

        def of_chunk(batch: torch.Tensor, some: slice) -> Arrays:
            trial = trial_of(case.specimen, batch, grid=self._grid())
            explanation = explain_images(str(method), case.specimen, trial.images, trial.target)
            values = patch_values(trial, explanation, signed=False)
            return {"values": values.double().cpu().numpy()}

        try:
            found = self._chunked("map", role, (str(method), repr(self._grid())), of_chunk)
        except ValueError as error:
            self.missing[f"maps of the {role}"] = str(error)
            return None
        return MapValues(str(method), found["values"], self._inside())

    def _grid(self) -> tuple[int, int]:
        """One grid for both models, so that their maps can be compared patch by patch: the transformer's."""
        layout = self.cases["vit"].specimen.layout
        return (8, 8) if layout is None else (layout.rows, layout.columns)

    def _kinds(
        self, columns: Mapping[str, np.ndarray], maps: Mapping[str, "MapValues | None"]
    ) -> dict[str, Any]:
        made = {}
        width = max(case.logits.shape[1] for case in self.cases.values())
        wide = {role: _widened(case.probabilities, width) for role, case in self.cases.items()}
        for role, other in ROLES.items():
            case, drawn = self.cases[role], maps[role]
            mass = np.full(len(case.labels), np.nan) if drawn is None else drawn.object_mass
            found = sort_failures(
                Evidence(
                    case.labels, len(self.images.decoded.classes), wide[role], wide[other], mass, columns
                )
            )
            made[role] = {
                "num_failures": found.num_failures,
                "n": found.n,
                "reason": found.reason,
                "unexplained": None if found.unexplained is None else asdict(found.unexplained),
                "missing": {kinds.get(name).title: reason for name, reason in found.missing.items()},
                "counts": [
                    {**asdict(one), "title": kinds.get(one.name).title, "rule": kinds.get(one.name).rule}
                    for one in found.counts
                ],
            }
        return made

    def _mending(self, maps: Mapping[str, "MapValues | None"]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for role, other in ROLES.items():
            own, rival, case = maps[role], maps[other], self.cases[role]
            if own is None:
                continue
            has_object = bool(np.isfinite(own.inside).all(axis=1).any())
            if not has_object and rival is None:
                self.missing[f"mending of the {role}"] = "no object is known, and no map of the other model"
                continue
            against = own.inside if has_object or rival is None else rival.values
            told = outside_region if has_object else disputed_region
            rows = self._hidden_rows(case)
            region = told(torch.from_numpy(own.values[rows]), torch.from_numpy(against[rows]))
            truth = case.truth[rows]

            def of_chunk(
                batch: torch.Tensor, some: slice, *, one=case.specimen, region=region, truth=truth
            ) -> Arrays:
                trial = trial_of(one, batch, grid=self._grid(), seed=self.config.seed)
                allowed = None if region.allowed is None else region.allowed[some]
                part = type(region)(region.hidden[some], allowed, region.rule)
                made = hide_region(trial, part, torch.from_numpy(truth[some]))
                kept = ("right", "has_region", "share", "after", "by_chance", "beside")
                return {name: getattr(made, name) for name in kept if getattr(made, name) is not None}

            known = sha256_of(region.hidden.numpy().tobytes(), truth.tobytes())
            joined = self._chunked("mending", role, (known,), of_chunk, rows)
            made = Mending(
                **{**joined, "beside": joined.get("beside")},  # pyright: ignore[reportArgumentType]
                rule=region.rule,
                fill="mean",
                seed=self.config.seed,
            )
            found[role] = self._described(made, rows)
        return found

    def _hidden_rows(self, case: Case) -> list[int]:
        """Images that patches are hidden from: so many of those named wrong and right, drawn at random."""
        generator = numpy_generator(self.config.seed, "images with hidden patches")
        mixed = generator.permutation(len(self.images))
        right = case.right[mixed]
        return sorted([*mixed[~right][:MOST_WRONG].tolist(), *mixed[right][:MOST_RIGHT].tolist()])

    def _described(self, found: Mending, rows: list[int]) -> dict[str, Any]:
        hidings = {kind: found.of(kind) for kind in ("wrong", "right")}
        return {
            "rule": found.rule,
            "fill": found.fill,
            "draws": found.by_chance.shape[1],
            **{kind: None if one is None else asdict(one) for kind, one in hidings.items()},
            "examples": [rows[row] for row in np.flatnonzero(found.mended)[:SHOWN_MENDED]],
        }


@dataclass(frozen=True, eq=False)
class MapValues:
    """What a map gives each patch of one grid, and the object's share of it (NaN where unknown)."""

    method: str
    values: Float[np.ndarray, "image patch"]
    inside: Float[np.ndarray, "image patch"]

    @property
    def object_mass(self) -> Float[np.ndarray, " image"]:
        """On the object, in even shares."""
        return mass_over_even(torch.from_numpy(self.values), torch.from_numpy(self.inside)).numpy()


def _widened(probabilities: Float[np.ndarray, "image class"], width: int) -> Float[np.ndarray, "image wide"]:
    """With columns of zeros for classes that only the other model names."""
    return np.pad(probabilities, ((0, 0), (0, width - probabilities.shape[1])))


def _rows_in(document: Any) -> set[int]:
    """Every row that a document names as an example."""
    if isinstance(document, Mapping):
        named = [row for row in document.get("examples") or ()]
        named += [row for pair in document.get("pairs") or () for row in pair]
        return {*named, *(row for value in document.values() for row in _rows_in(value))}
    if isinstance(document, list | tuple):
        return {row for value in document for row in _rows_in(value)}
    return set()
