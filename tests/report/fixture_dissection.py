"""Failures taken apart, made up from a seed: what `dissection.json` and its pixels hold, made by the library itself."""

from dataclasses import asdict

import numpy as np
import torch

from archaeology.core.storage import plain_json, write_arrays, write_json
from archaeology.dig.dissecting_answers import Case, calibrated
from archaeology.failures.attention import AttentionLook, compare_attention, specimens_of
from archaeology.failures.mending import Mending
from archaeology.failures.slices import find_slices
from archaeology.failures.taxonomy import Evidence, kinds, sort_failures
from archaeology.specimens.specimen import Specimen

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
NUMBER = 200


def made_up_dissection(seed=0):
    """The document: the ViT is too sure and fails on bright images, looking aside; the CNN errs at random."""
    random = np.random.default_rng(seed)
    labels = random.integers(len(CLASSES), size=NUMBER)
    bright = np.where(random.random(NUMBER) < 0.22, 0.9, 0.4) + random.normal(0, 0.03, NUMBER)
    hard = bright > 0.7
    features = random.normal(size=(NUMBER, 6)) + 14.0 * hard[:, None] * np.eye(6)[0]
    wrong = {"vit": random.random(NUMBER) < np.where(hard, 0.85, 0.1), "cnn": random.random(NUMBER) < 0.2}
    steep = {"vit": 4.5, "cnn": 2.5}
    cases = {}
    for role in wrong:
        named = np.where(wrong[role], (labels + 3) % len(CLASSES), labels)
        logits = random.normal(0, 0.6, (NUMBER, len(CLASSES))) + steep[role] * np.eye(len(CLASSES))[named]
        specimen = Specimen(role, torch.nn.Identity(), "other", CLASSES, (32, 32))
        cases[role] = Case(specimen, labels, labels, logits, logits)
    vit = cases["vit"]
    mass = 1.6 - 0.9 * hard + random.normal(0, 0.1, NUMBER)
    columns = {"brightness": bright, "sharpness": random.random(NUMBER)}
    depth = random.normal(2, 0.3, (NUMBER, 4)) + 0.4 * hard[:, None] * np.arange(4)
    look = AttentionLook(depth, depth[:, ::-1] * 3, mass, mass + 0.2, np.zeros((NUMBER, 4, 4)), tuple("abcd"))
    compared = compare_attention(look, vit.right, labels, seed=seed)
    surveys = {
        role: find_slices(features, labels, case.probabilities, attributes=columns, seed=seed)
        for role, case in cases.items()
    }
    document = {
        "n": NUMBER,
        "dissected": NUMBER,
        "classes": CLASSES,
        "classes_named": [*CLASSES, "another class"],
        "roles": {"vit": "bundled:vit_cifar10", "cnn": "bundled:convnet_cifar10"},
        "seed": seed,
        "calibration": {role: calibrated(case, seed) for role, case in cases.items()},
        "slices": {
            role: {
                **asdict(survey),
                "features_of": "the other",
                "slices": [
                    {
                        **asdict(one),
                        "is_claimed": one.is_claimed,
                        "attributes": [{**asdict(gap), "words": gap.words} for gap in one.attributes],
                    }
                    for one in survey.slices
                ],
            }
            for role, survey in surveys.items()
        },
        "kinds": {
            role: sorted_failures(cases[role], cases[other], mass, columns)
            for role, other in (("vit", "cnn"), ("cnn", "vit"))
        },
        "maps": {"vit": "rollout", "cnn": "grad_cam"},
        "mending": {role: mended(case, random, role == "vit") for role, case in cases.items()},
        "attention": {
            "gaps": [asdict(one) for one in compared.gaps],
            "by_layer": [asdict(one) for one in compared.by_layer],
            "missing": compared.missing,
            "modules": list("abcd"),
            "pairs": specimens_of(vit.right[:60], labels[:60], vit.probabilities.max(axis=1)[:60], 3),
        },
        "missing": {},
    }
    document["images"] = [
        {
            "row": row,
            "id": f"test/{row:05d}.png",
            "label": CLASSES[labels[row]],
            **{role: CLASSES[int(case.logits[row].argmax())] for role, case in cases.items()},
            **{f"{role}_confidence": float(case.probabilities[row].max()) for role, case in cases.items()},
        }
        for row in range(60)
    ]
    return plain_json(document)


def sorted_failures(case, other, mass, columns):
    found = sort_failures(
        Evidence(case.labels, case.logits.shape[1], case.probabilities, other.probabilities, mass, columns)
    )
    return {
        "num_failures": found.num_failures,
        "n": found.n,
        "reason": found.reason,
        "unexplained": asdict(found.unexplained),
        "missing": found.missing,
        "counts": [
            {**asdict(one), "title": kinds.get(one.name).title, "rule": kinds.get(one.name).rule}
            for one in found.counts
        ],
    }


def mended(case, random, has_object):
    after = np.where(case.right, random.random(NUMBER) < 0.9, random.random(NUMBER) < 0.5)
    draws = np.where(case.right[:, None], random.random((NUMBER, 5)) < 0.9, random.random((NUMBER, 5)) < 0.2)
    shares = np.full(NUMBER, 0.2)
    found = Mending(
        case.right,
        random.random(NUMBER) < 0.9,
        shares,
        after,
        draws,
        draws if has_object else None,
        "a rule",
        "mean",
        0,
    )
    hidings = {kind: asdict(found.of(kind)) for kind in ("wrong", "right")}
    return {"rule": "a rule", "fill": "mean", "draws": 5, **hidings, "examples": [2, 3]}


def write_dissection(folder, document=None):
    """The document and pixels of its first 60 images into a run directory."""
    random = np.random.default_rng(0)
    write_json(folder / "dissection.json", document or made_up_dissection())
    arrays = {
        "row": (np.arange(60), ("image",)),
        "pixels": (
            random.integers(0, 255, (60, 3, 32, 32)).astype(np.uint8),
            ("image", "channel", "height", "width"),
        ),
        "rollout": (random.random((60, 4, 4)).astype(np.float32), ("image", "row", "column")),
    }
    write_arrays(folder / "dissection.zarr", arrays, {})
