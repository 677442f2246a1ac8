"""From measured numbers to the tables of the run directory; no model is run here."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Int

from archaeology.data.cache import DecodedImages
from archaeology.dig.labels import ClassMatch, plain_name
from archaeology.dig.survey import Predictions
from archaeology.dig.verdict import failure_types, labelled_verdict, unlabelled_verdict
from archaeology.specimens.specimen import Specimen
from archaeology.stats.specialization_sums import figure_names

STATISTICS = (*figure_names(), "position_share")
EFFECTS = ("ablation_accuracy", "ablation_loss")
SAID_OF_HEADS = ("label", "confidence", "nearest", "typical", "typical_of")
SAID_OF_EFFECTS = {
    "p": float("nan"),
    "p_corrected": float("nan"),
    "matters": None,
    "verdict": None,
}


def names_of(
    prediction: Int[np.ndarray, " image"], own: Sequence[str], match: ClassMatch, classes: Sequence[str]
) -> list[str]:
    """The class names a model predicts: its own, or those of the data where it is matched without having names."""
    names = dict(enumerate(own))
    if match.logit is not None:
        for name, place in zip(classes, match.logit.tolist(), strict=True):
            if plain_name(names.get(place, "")) != plain_name(name):
                names[place] = name
    return [names.get(place, f"output {place}") for place in prediction.tolist()]


def image_table(
    decoded: DecodedImages,
    hashes: Sequence[str],
    predictions: Mapping[str, Predictions],
    specimens: Mapping[str, Specimen],
    matches: Mapping[str, ClassMatch],
) -> list[dict[str, Any]]:
    """The rows of `images.parquet`; what is right and wrong is None where labels do not match the models."""
    names = {
        role: names_of(predictions[role].prediction, specimens[role].classes, matches[role], decoded.classes)
        for role in ("vit", "cnn")
    }
    correct = {role: correctness(decoded.labels, predictions[role], matches[role]) for role in ("vit", "cnn")}
    same = same_predictions(names["vit"], names["cnn"])
    failures: Sequence[str | None] = [None] * len(decoded)
    if correct["vit"] is not None and correct["cnn"] is not None:
        failures = failure_types(correct["vit"], correct["cnn"], same)
    rows = []
    for index in range(len(decoded)):
        label = int(decoded.labels[index])
        row: dict[str, Any] = {
            "id": decoded.ids[index],
            "sha256": hashes[index],
            "label": label if label >= 0 else None,
            "label_name": decoded.classes[label] if label >= 0 else None,
        }
        for role in ("vit", "cnn"):
            right = correct[role]
            row[f"{role}_prediction"] = int(predictions[role].prediction[index])
            row[f"{role}_prediction_name"] = names[role][index]
            row[f"{role}_confidence"] = float(predictions[role].confidence[index])
            row[f"{role}_correct"] = None if right is None else bool(right[index])
        rows.append({**row, "failure": failures[index]})
    return rows


def correctness(labels: np.ndarray, predictions: Predictions, match: ClassMatch) -> np.ndarray | None:
    """Whether each prediction is right, or None where that cannot be said."""
    if match.logit is None or (labels < 0).any():
        return None
    return match.logit[labels] == predictions.prediction


def same_predictions(vit_names: Sequence[str], cnn_names: Sequence[str]) -> np.ndarray:
    """Whether both models name the same class."""
    pairs = zip(vit_names, cnn_names, strict=True)
    return np.array([plain_name(vit) == plain_name(cnn) for vit, cnn in pairs])


def verdict(rows: Sequence[Mapping[str, Any]], *, seed: int) -> dict[str, Any]:
    """The verdict part of `results.json`, from the image table."""
    if all(row["failure"] is not None for row in rows):
        correct = {role: np.array([row[f"{role}_correct"] for row in rows]) for role in ("vit", "cnn")}
        return labelled_verdict(correct["vit"], correct["cnn"], [row["failure"] for row in rows], seed=seed)
    names = [[row[f"{role}_prediction_name"] for row in rows] for role in ("vit", "cnn")]
    return unlabelled_verdict(same_predictions(*names))


def head_table(
    statistics: Sequence[Mapping[str, Any]], ablation: Sequence[Mapping[str, Any]] | None
) -> list[dict[str, Any]]:
    """The rows of `heads.parquet`: statistics and ablation effects of every head side by side."""
    effects = {(row["layer"], row["head"]): row for row in ablation or ()}
    table = []
    for row in statistics:
        merged: dict[str, Any] = {"model": "vit", **{name: row[name] for name in ("layer", "head", "module")}}
        for name in STATISTICS:
            merged |= {key: float(row[key]) for key in (name, f"{name}_low", f"{name}_high")}
        effect = effects.get((row["layer"], row["head"]))
        for name in EFFECTS:
            keys = (name, f"{name}_low", f"{name}_high")
            merged |= {key: float("nan") if effect is None else float(effect[key]) for key in keys}
        merged |= {"n": int(row["n"]), "ablation_n": 0 if effect is None else int(effect["n"])}
        merged |= {name: row[name] for name in SAID_OF_HEADS}
        merged |= {
            name: nothing if effect is None else effect[name] for name, nothing in SAID_OF_EFFECTS.items()
        }
        table.append(merged)
    return table


def metric_table(
    results: Mapping[str, Any],
    heads: Sequence[Mapping[str, Any]],
    curves: Sequence[Mapping[str, Any]] = (),
    *,
    split: str | None,
    seed: int,
) -> list[dict[str, Any]]:
    """The rows of `metrics.parquet`: every number of the dig with its interval, in one long table.

    Args:
        results: As in `results.json`.
        heads: The rows of `heads.parquet`.
        curves: Accuracy against epsilon: `model, attack, norm, epsilon, n, accuracy` with its interval.
        split: Of the data.
        seed: Of the dig.
    """
    rows: list[dict[str, Any]] = []

    def add(
        model: str,
        metric: str,
        value: float,
        low: float,
        high: float,
        n: int,
        method: str,
        attack: str | None = None,
        epsilon: float | None = None,
    ) -> None:
        place = {"model": model, "metric": metric, "split": split, "attack": attack, "epsilon": epsilon}
        rows.append(
            {**place, "value": value, "low": low, "high": high, "n": n, "method": method, "seed": seed}
        )

    if results["accuracy"] is not None:
        for model, metric, key in (
            ("vit", "accuracy", "vit"),
            ("cnn", "accuracy", "cnn"),
            ("vit-cnn", "accuracy_difference", "difference"),
        ):
            one = results["accuracy"][key]
            add(model, metric, one["value"], one["low"], one["high"], one["n"], one["method"])
    else:
        one = results["agreement"]
        add("both", "agreement", one["value"], one["low"], one["high"], one["n"], one["method"])
    for row in curves:
        ends = (row["accuracy"], row["accuracy_low"], row["accuracy_high"], row["n"])
        metric = f"robust_accuracy/{row['norm']}"
        add(row["model"], metric, *ends, "wilson", attack=row["attack"], epsilon=row["epsilon"])
    for row in heads:
        for name in (*STATISTICS, *EFFECTS):
            if np.isfinite(row[name]):
                where = f"{name}/layer{row['layer']}/head{row['head']}"
                is_effect = name in EFFECTS
                n, method = (row["ablation_n"], "paired bootstrap") if is_effect else (row["n"], "student t")
                add("vit", where, row[name], row[f"{name}_low"], row[f"{name}_high"], n, method)
    return rows
