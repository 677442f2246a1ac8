"""A survey of layers made up from a seed: what `representation.json` holds, but small."""

import base64
import io

import numpy as np
from PIL import Image

from archaeology.core.intervals import bootstrap_mean, wilson
from archaeology.core.storage import plain_json

VIT, CNN = "bundled:vit_cifar10", "bundled:convnet_cifar10"
LAYERS = {VIT: [f"blocks.{at}" for at in range(5)], CNN: ["whiten", "groups.0", "groups.1"]}
CLASSES = ["airplane", "bird", "cat"]
ASKED, KNOWN, IMAGES = 30, 31, 61


def made_up_layers(seed=0, vit=VIT, cnn=CNN):
    """Every part: the ViT reads images with a class token, has outliers, and ends otherwise than the CNN."""
    random = np.random.default_rng(seed)
    document = {
        "schema_version": 2,
        "specimens": [
            {"name": VIT, "kind": "transformer", "layers": LAYERS[VIT], "numbers": [1, 2, 3, 4, 5]},
            {"name": CNN, "kind": "convolutional", "layers": LAYERS[CNN], "numbers": [0, 1, 2]},
        ],
        "n": IMAGES,
        "num_known": KNOWN,
        "num_asked": ASKED,
        "num_copies": 1,
        "classes": CLASSES,
        "seed": seed,
        "similarity": [
            similar(VIT, CNN),
            similar(VIT, VIT),
            similar(CNN, CNN),
            similar(VIT, VIT, "class_token"),
        ],
        "reading": reading(),
        "few_shot": few_shot(),
        "maps": maps(random),
        "outliers": {"models": [outliers(VIT)], "missing": {}},
        "objects": objects(random),
        "retrieval": retrieval(random),
        "missing": {},
        "seconds": {},
    }
    return renamed(plain_json(document), {VIT: vit, CNN: cnn})


def renamed(value, names):
    """The same with models called by other names."""
    if isinstance(value, dict):
        return {key: renamed(one, names) for key, one in value.items()}
    if isinstance(value, list):
        return [renamed(one, names) for one in value]
    return names.get(value, value) if isinstance(value, str) else value


def ends(name, found):
    return {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}


def similar(first, second, readout="mean_patches"):
    rows, columns = len(LAYERS[first]), len(LAYERS[second])
    depth = [np.linspace(0, 1, many) for many in (rows, columns)]
    apart = np.abs(depth[0][:, None] - depth[1][None])
    within = first == second and readout == "mean_patches"
    value = np.exp(-2 * apart) if within else 0.9 * np.exp(-2 * apart) - 0.3 * depth[0][:, None]
    return {
        "first": first,
        "second": second,
        "first_readout": readout,
        "second_readout": "mean_patches",
        "first_layers": LAYERS[first],
        "second_layers": LAYERS[second],
        "cka": value,
        "low": value - 0.05,
        "high": np.minimum(value + 0.05, 1),
        "constant": [],
        "n": IMAGES,
        "batches": 8,
    }


def curve(name, readout, right):
    """`right`: how many of the images asked each layer's neighbours name right; the probe one more."""
    layers = LAYERS[name][-len(right) :]
    table = []
    for layer, count in zip(layers, right, strict=True):
        row = {"layer": layer, "n": ASKED, "strength": 0.01, "has_converged": True}
        for k, less in ((1, 2), (5, 0), (20, 1)):
            row |= ends(f"knn_{k}", wilson(max(count - less, 0), ASKED))
        row |= ends("probe", wilson(min(count + 1, ASKED), ASKED))
        share = (count - ASKED / 3) / (right[-1] - ASKED / 3)  # beyond chance
        row |= {"knn_of_last": share, "knn_of_last_low": share - 0.03, "knn_of_last_high": share + 0.03}
        table.append(row)
    is_main = readout == "class_token" or name == CNN
    return {"specimen": name, "readout": readout, "is_main": is_main, "table": table}


def reading():
    compared = [
        difference("knn", VIT, "class_token", VIT, "mean_patches", 0.2, 1e-6),
        difference("probe", VIT, "class_token", VIT, "mean_patches", 0.02, 0.6),
        difference("knn", VIT, "class_token", CNN, "mean_patches", -0.3, 1e-8),
        difference("probe", VIT, "class_token", CNN, "mean_patches", 0.0, 1.0),
    ]
    return {
        "ks": [1, 5, 20],
        "main_k": 5,
        "chance": 1 / 3,
        "num_known": KNOWN,
        "num_asked": ASKED,
        "strengths": [0.001, 0.01],
        "folds": 3,
        "curves": [
            curve(VIT, "class_token", [11, 14, 20, 24]),
            curve(VIT, "mean_patches", [9, 12, 14, 17, 18]),
            curve(CNN, "mean_patches", [10, 28, 29]),
        ],
        "compared": compared,
    }


def difference(what, first, readout, other, other_readout, value, p):
    return {
        "what": what,
        "specimen": first,
        "readout": readout,
        "other": other,
        "other_readout": other_readout,
        "n": ASKED,
        "p": p,
        "difference": value,
        "difference_low": value - 0.08,
        "difference_high": value + 0.08,
    }


def few_shot():
    shots = (1, 2, 5)
    heights = {VIT: (0.5, 0.6, 0.7), CNN: (0.6, 0.75, 0.8)}
    curves = [
        {
            "specimen": name,
            "layer": LAYERS[name][-1],
            "readout": "class_token" if name == VIT else "mean_patches",
            "table": [
                {
                    "shots": shot,
                    "n": ASKED,
                    "accuracy": height,
                    "accuracy_low": height - 0.04,
                    "accuracy_high": height + 0.04,
                }
                for shot, height in zip(shots, heights[name], strict=True)
            ],
        }
        for name in (VIT, CNN)
    ]
    compared = [
        {
            "shots": shot,
            "specimen": VIT,
            "other": CNN,
            "difference": one - other,
            "difference_low": one - other - 0.03,
            "difference_high": one - other + 0.03,
        }
        for shot, one, other in zip(shots, heights[VIT], heights[CNN], strict=True)
    ]
    return {
        "draws": 10,
        "chance": 1 / 3,
        "num_classes": 3,
        "n": ASKED,
        "curves": curves,
        "compared": compared,
    }


def maps(random):
    labels = np.arange(IMAGES) % 3
    models = []
    for name, spread in ((VIT, 2.0), (CNN, 0.5)):
        corners = np.array([[0, 0], [5, 0], [0, 5]])
        places = (corners[labels] + spread * random.normal(size=(IMAGES, 2))).round(3)
        drawn = {
            "x": places[:, 0],
            "y": places[:, 1],
            "trustworthiness": 0.97,
            "neighbours": 10,
            "parameters": {"perplexity": 20.0},
        }
        models.append(
            {
                "specimen": name,
                "layer": LAYERS[name][-1],
                "readout": "class_token" if name == VIT else "mean_patches",
                "methods": {"tsne": drawn, "pca": drawn | {"trustworthiness": 0.8}},
                "right": (random.random(IMAGES) > 0.2).tolist(),
            }
        )
    return {
        "models": models,
        "ids": [f"test/{at:05d}.png" for at in range(IMAGES)],
        "labels": labels.tolist(),
    }


def outliers(name):
    counts = np.array([2, 8, 30, 50, 30, 8, 2, 0, 0, 3, 5, 2])
    found = {
        "specimen": name,
        "layer": LAYERS[name][-1],
        "n": 10,
        "num_patches": int(counts.sum()),
        "edges": np.geomspace(10, 400, len(counts) + 1),
        "counts": counts,
        "median": 30.0,
        "threshold": 140.0,
        "num_outliers": 10,
        "bic_gain": 80.0,
        "valley": 0.01,
        "front": {"class": 60.0},
    }
    return found | {"share": 10 / 140, "share_low": 0.04, "share_high": 0.11}


def png(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def noise(random, side=4):
    return png(random.integers(0, 256, (side, side, 3), dtype=np.uint8))


def objects(random):
    images = [
        {
            "id": f"test/{at:05d}.png",
            "image": noise(random, 6),
            "box": [0.2, 0.3, 0.8, 0.9],
            "models": [
                {"specimen": VIT, "colours": noise(random), "box": [0.25, 0.25, 0.75, 1.0]},
                {"specimen": CNN, "colours": noise(random, 3), "box": [0.0, 0.0, 1.0, 1.0]},
            ],
        }
        for at in range(2)
    ]
    scores = []
    for name, overlap in ((VIT, 0.7), (CNN, 0.4)):
        row = {"specimen": name, "method": "tokencut", "n": 10}
        for key, value in (("found", overlap), ("middle_found", 0.5)):
            row |= ends(key, wilson(round(10 * value), 10))
        for key, value in (("overlap", overlap), ("middle_overlap", 0.5), ("gain", overlap - 0.5)):
            row |= ends(key, bootstrap_mean(value + 0.05 * np.sin(np.arange(10.0))))
        scores.append(row)
    return {"images": images, "scores": scores, "n": 10, "missing": {}}


def retrieval(random):
    def near(label, at):
        return {
            "id": f"test/{at:05d}.png",
            "label": label,
            "similarity": 0.9 - 0.1 * at,
            "image": noise(random),
        }

    queries = [
        {
            "id": "test/00000.png",
            "label": label,
            "image": noise(random),
            "neighbours": [
                {"specimen": VIT, "found": [near(label, 1), near("cat", 2)]},
                {"specimen": CNN, "found": [near(label, 3), near(label, 4)]},
            ],
        }
        for label in ("airplane", "bird")
    ]
    models = [
        {"specimen": name, "layer": LAYERS[name][-1], "readout": "mean_patches", "n": IMAGES}
        | ends("precision", bootstrap_mean(share + 0.1 * np.sin(np.arange(IMAGES * 1.0))))
        for name, share in ((VIT, 0.6), (CNN, 0.8))
    ]
    return {"k": 2, "models": models, "queries": queries, "chance": 0.33}
