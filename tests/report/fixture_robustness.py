"""A survey of robustness made up from a seed: what `robustness.json` holds, but small."""

import base64
import io

import numpy as np

from archaeology.core.bounded import bounded_means
from archaeology.core.intervals import bootstrap_means, wilson
from archaeology.core.many import paired_share
from archaeology.core.storage import plain_json
from archaeology.robustness.written import written

VIT, CNN, THIRD = "bundled:vit_cifar10", "bundled:convnet_cifar10", "run:runs/vit_cifar10_robust"
KINDS = {VIT: "transformer", CNN: "convolutional", THIRD: "transformer"}
SPECIMENS = tuple(KINDS)
NUM_IMAGES = 40
CORRUPTIONS = {"gaussian_noise": "noise", "fog": "weather", "motion_blur": "blur", "frost": "weather"}
CLASSES = ("circle", "star", "bar")


def made_up_document(seed=0, vit=VIT, cnn=CNN):
    """Every part; the third model withstands most, the CNN hides its gradients."""
    random = np.random.default_rng(seed)
    parts = {
        "curves": [curves(random, "pgd", "linf", 1 / 255), curves(random, "square", "l2", 0.5)],
        "gradients": {name: gradients(name) for name in SPECIMENS},
        "gradients_l2": {VIT: gradients(VIT) | {"norm": "l2", "epsilon": 0.5}},
        "transfer": transfer(random),
        "fourier": fourier(random),
        "passes": passes(random),
        "spectrum": {
            name: spectrum(random, slope) for name, slope in zip(SPECIMENS, (2.0, -1.0, 4.0), strict=True)
        },
        "corruptions": corruptions(random),
        "shape": shape(random),
        "patches": patches(random),
        "attention": {VIT: attention(random, 5, 3), THIRD: attention(random, 4, None)},
        "carriers": {VIT: carriers(random, 3, 2)},
        "pictures": {"images": [picture(random, name) for name in (VIT, CNN)], "epsilon": 4 / 255},
        "reattack": {VIT: reattack(random, 0.05, 0.1), THIRD: reattack(random, 0.4, 0.9)},
    }
    document = {
        "schema_version": 1,
        "specimens": [{"name": name, "kind": kind} for name, kind in KINDS.items()],
        "n": NUM_IMAGES,
        "seed": seed,
        "epsilon": 4 / 255,
        **parts,
        "missing": {},
        "seconds": dict.fromkeys(parts, 1.5),
    }
    renamed = {VIT: vit, CNN: cnn}
    return replaced(plain_json(document), renamed)


def replaced(value, names):
    """The same with models called by other names."""
    if isinstance(value, dict):
        return {names.get(key, key): replaced(one, names) for key, one in value.items()}
    if isinstance(value, list):
        return [replaced(one, names) for one in value]
    return names.get(value, value) if isinstance(value, str) else value


def drawn(random, shares):
    """For each share which of the images are right."""
    return random.random((len(shares), NUM_IMAGES)) < np.array(shares)[:, None]


def share(right):
    """Wilson's interval of a row of images."""
    return wilson(int(right.sum()), len(right))


def curves(random, attack, norm, unit):
    sizes = [0.0, *(unit * step for step in (0.5, 1, 2, 4, 8))]
    smallest = {
        name: random.poisson(mean, NUM_IMAGES) for name, mean in zip(SPECIMENS, (1.5, 1.7, 4.0), strict=True)
    }
    right = {name: np.arange(len(sizes))[:, None] < found for name, found in smallest.items()}
    heights = {
        name: np.trapezoid(found.T.astype(float), sizes, axis=1) / sizes[-1] for name, found in right.items()
    }
    found = []
    for name in SPECIMENS:
        table = [
            {"specimen": name, "epsilon": size, "n": NUM_IMAGES} | written("accuracy", share(row))
            for size, row in zip(sizes, right[name], strict=True)
        ]
        area = bootstrap_means(heights[name][:, None])[0]
        median = {"median": None, "median_low": 2 * unit, "median_high": None}
        if name != THIRD:
            median = {"median": unit, "median_low": 0.5 * unit, "median_high": 2 * unit}
        found.append(
            {
                "specimen": name,
                "attack": attack,
                "norm": norm,
                "n": NUM_IMAGES,
                "epsilons": sizes,
                "table": table,
            }
            | {"parameters": {"steps": 20}, "seed": 0}
            | written("area", area)
            | median
        )
    areas = [
        {"specimen": one, "other": other, "n": NUM_IMAGES}
        | written("difference", bootstrap_means((heights[one] - heights[other])[:, None])[0])
        for at, one in enumerate(SPECIMENS)
        for other in SPECIMENS[at + 1 :]
    ]
    return {"attack": attack, "norm": norm, "curves": found, "differences": [], "areas": areas}


def gradients(name):
    flags = ["the gradient of the cross-entropy is exactly 0 for 31 of 40 images"] if name == CNN else []
    suspicions = [
        {
            "name": "vanishing gradient",
            "sentence": f"the gradient of the cross-entropy is exactly 0 for {31 if flags else 0} of 40 images",
            "share": 31 / 40 if flags else 0.0,
            "allowed": 0.01,
            "n": NUM_IMAGES,
            "p_value": 1e-9 if flags else 1.0,
            "p_corrected": 1e-8 if flags else 1.0,
            "raised": bool(flags),
        }
    ]
    return {
        "specimen": name,
        "attack": "pgd",
        "norm": "linf",
        "epsilon": 8 / 255,
        "parameters": {"steps": 20},
        "suspicions": suspicions,
        "level": 0.01,
        "n": NUM_IMAGES,
        "seed": 0,
        "may_be_masked": bool(flags),
        "flags": flags,
    }


def transfer(random):
    rates = {
        (VIT, CNN): 0.9,
        (CNN, VIT): 0.35,
        (VIT, THIRD): 0.1,
        (THIRD, VIT): 0.3,
        (CNN, THIRD): 0.05,
        (THIRD, CNN): 0.4,
    }
    rows = []
    for one in SPECIMENS:
        for other in SPECIMENS:
            broken, noisy = drawn(random, [rates.get((one, other), 0.95), 0.06])
            row = {"source": one, "target": other, "n": NUM_IMAGES} | written("success", share(broken))
            rows.append(
                row | written("noise", share(noisy)) | written("beyond_noise", paired_share(broken, noisy))
            )
    rows[2] = {"source": VIT, "target": THIRD, "n": 0}
    return {
        "specimens": SPECIMENS, "norm": "linf", "epsilon": 4 / 255, "steps": 20, "seed": 0, "n": NUM_IMAGES,
        "table": rows
    }  # fmt: skip


def fourier(random):
    down, right = [-3, -2, -1, 0, 1, 2, 3], [0, 1, 2, 3]
    radius = np.hypot(np.array(down)[:, None], np.array(right)) / 3
    models = {}
    for name, (coarse, fine) in zip(SPECIMENS, ((0.2, 0.9), (0.8, 0.3), (0.5, 0.5)), strict=True):
        errors = coarse + (fine - coarse) * np.clip(radius, 0, 1) + 0.01 * random.random(radius.shape)
        rings = []
        for low, high in ((0, 0.25), (0.25, 0.5), (0.5, 1.5)):
            error = float(errors[(radius >= low) & (radius < high)].mean())
            ends = {"error": error, "error_low": error - 0.06, "error_high": error + 0.06}
            rings.append({"low": low, "high": high, "num_frequencies": 5, "n": NUM_IMAGES} | ends)
        clean = written("error", wilson(4, NUM_IMAGES))
        models[name] = {"clean": clean, "errors": errors.tolist(), "rings": rings}
    return {
        "specimens": SPECIMENS, "down": down, "right": right, "rms": 0.125, "norm": 4.0, "size": [6, 6],
        "n": NUM_IMAGES, "seed": 0, "models": models,
    }  # fmt: skip


def passes(random):
    cutoffs, rows = [0.125, 0.5, 1.0], []
    clean = dict(zip(SPECIMENS, drawn(random, [0.8, 0.9, 0.7]), strict=True))
    for name in SPECIMENS:
        for kind, shares in (("low", (0.2, 0.5, 0.8)), ("high", (0.7, 0.3, 0.1))):
            for cutoff, right in zip(cutoffs, drawn(random, shares), strict=True):
                row = {"specimen": name, "kind": kind, "cutoff": cutoff, "n": NUM_IMAGES}
                rows.append(
                    row
                    | written("accuracy", share(right))
                    | written("lost", paired_share(clean[name], right))
                )
    whole = {name: written("accuracy", share(right)) for name, right in clean.items()}
    return {"specimens": SPECIMENS, "cutoffs": cutoffs, "n": NUM_IMAGES, "clean": whole, "table": rows}


def spectrum(random, slope):
    edges, white = [0, 0.25, 0.5, 1.0, 1.5], np.array([0.05, 0.15, 0.55, 0.25])
    power = (
        white
        * np.exp(slope * (0.5 - np.array([0.1, 0.4, 0.7, 1.0])))
        * (1 + 0.1 * random.random((NUM_IMAGES, 4)))
    )
    means = bootstrap_means(power / power.sum(axis=1, keepdims=True))
    rings = [
        {"low": low, "high": high, "white": part, "density": found.value / part} | written("share", found)
        for low, high, part, found in zip(edges[:-1], edges[1:], white.tolist(), means, strict=True)
    ]
    return {"n": NUM_IMAGES, "unchanged": 0, "rings": rings}


def corruptions(random):
    right = {
        name: random.random((len(CORRUPTIONS), 5, NUM_IMAGES)) < level - 0.08 * np.arange(5)[:, None]
        for name, level in zip(SPECIMENS, (0.8, 0.7, 0.75), strict=True)
    }
    right[CNN][0] = random.random((5, NUM_IMAGES)) < 0.05
    wrong = {name: 1 - found.mean(axis=(0, 1)) for name, found in right.items()}
    models = {}
    for name in SPECIMENS:
        ratio = (1 - right[name].mean(axis=(1, 2))) / (1 - right[VIT].mean(axis=(1, 2)))
        mce = {"mce": ratio.mean(), "mce_low": 0.9 * ratio.mean(), "mce_high": 1.1 * ratio.mean()}
        models[name] = (
            written("clean", wilson(34, NUM_IMAGES))
            | written("mean_error", bootstrap_means(wrong[name][:, None])[0])
            | mce
            | {"relative_mce": None, "relative_mce_low": None, "relative_mce_high": None}
            | written("difference", bootstrap_means((wrong[name] - wrong[VIT])[:, None])[0])
            | {
                "by_kind": errors("corruption", list(CORRUPTIONS), 1 - right[name].mean(axis=1).T),
                "by_severity": errors("severity", [1, 2, 3, 4, 5], 1 - right[name].mean(axis=0).T),
            }
        )
    table = [
        {"specimen": name, "corruption": kind, "severity": 1 + severity, "n": NUM_IMAGES}
        | written("accuracy", share(found[place, severity]))
        for name, found in right.items()
        for place, kind in enumerate(CORRUPTIONS)
        for severity in range(5)
    ]
    return {
        "specimens": SPECIMENS, "corruptions": CORRUPTIONS, "reference": VIT, "n": NUM_IMAGES, "seed": 0,
        "models": models, "table": table,
    }  # fmt: skip


def errors(key, names, wrong):
    """A row for each column of errors, image by image."""
    return [
        {key: name, "n": NUM_IMAGES} | written("error", interval)
        for name, interval in zip(names, bounded_means(wrong, wrong, (0.0, 1.0)), strict=True)
    ]


def shape(random):
    rows, decided = [], {}
    for name, level in zip(SPECIMENS, (0.5, 0.15, 0.9), strict=True):
        for cutoff in (0.125, 0.5, None):
            right = random.random(NUM_IMAGES) < level
            decided[name] = right
            by_class = {one: written("shape_share", share(right[at::3])) for at, one in enumerate(CLASSES)}
            rows.append(
                {
                    "specimen": name,
                    "cutoff": cutoff,
                    "n": NUM_IMAGES,
                    "num_decisions": NUM_IMAGES,
                    "by_class": by_class,
                }
                | written("shape_share", share(right))
                | written("shape_accuracy", share(right))
                | written("texture_accuracy", share(~right))
            )
    differences = [
        {"specimen": one, "other": other, "cutoff": None, "n": NUM_IMAGES}
        | written("difference", paired_share(decided[one], decided[other]))
        for at, one in enumerate(SPECIMENS)
        for other in SPECIMENS[at + 1 :]
    ]
    return {
        "kind": "phase",
        "specimens": SPECIMENS,
        "n": NUM_IMAGES,
        "table": rows,
        "differences": differences,
    }


def patches(random):
    what = [("clean", 0.0)]
    what += [
        (kind, level)
        for kind in ("drop_random", "drop_salient", "drop_least_salient")
        for level in (0.25, 0.5, 0.75)
    ]
    what += [("occlude_middle", 0.25), ("occlude_random", 0.25), ("shuffle", 2.0)]
    slopes = dict(zip(SPECIMENS, (0.4, 1.0, 0.5), strict=True))
    right = {
        name: drawn(random, [0.9 - slopes[name] * min(level, 0.9) for _, level in what]) for name in SPECIMENS
    }
    table, differences = [], []
    for name in SPECIMENS:
        for at, (kind, level) in enumerate(what):
            row = {"specimen": name, "kind": kind, "level": level, "n": NUM_IMAGES}
            lost = paired_share(right[name][0], right[name][at])
            table.append(row | written("accuracy", share(right[name][at])) | written("lost", lost))
    for one, other in ((VIT, CNN), (VIT, THIRD), (CNN, THIRD)):
        for at, (kind, level) in enumerate(what):
            lost = [right[name][0].astype(float) - right[name][at] for name in (one, other)]
            gap = bootstrap_means((lost[0] - lost[1])[:, None])[0]
            differences.append(
                {"specimen": one, "other": other, "kind": kind, "level": level, "n": NUM_IMAGES}
                | written("accuracy_difference", paired_share(right[one][at], right[other][at]))
                | written("lost_difference", gap)
            )
    return {
        "specimens": SPECIMENS, "explanations": [f"rollout of {VIT}", f"grad_cam of {CNN}", f"rollout of {THIRD}"],
        "grid": [8, 8], "fill": "black", "seed": 0, "n": NUM_IMAGES, "table": table, "areas": [],
        "differences": differences,
    }  # fmt: skip


def attention(random, depth, parting):
    rows = []
    for measure, unit in (("shift", 0.01), ("stream", 0.2)):
        for layer in range(depth):
            noise = unit * (1 + 0.2 * layer)
            attack = (
                noise
                * (1.1 if parting is None or layer < parting else 1.0 + layer)
                * (1 + 0.01 * random.random())
            )
            row = {"layer": layer, "module": f"blocks.{layer}", "measure": measure, "n": 23}
            for key, value in (
                ("attack", attack),
                ("noise", noise),
                ("excess", attack - noise),
                ("ratio", attack / noise),
            ):
                row |= {key: value, f"{key}_low": 0.9 * value, f"{key}_high": 1.15 * value}
            rows.append(row | {"p": 0.001, "p_corrected": 0.004})
    return {
        "modules": [row["module"] for row in rows[:depth]],
        "blocks": [],
        "n": 23,
        "seed": 0,
        "attack_changed": vars(wilson(23, 23)),
        "noise_changed": vars(wilson(1, 23)),
        "parting": {"shift": 0, "stream": 0},
        "parting_twice": {"shift": parting, "stream": parting},
        "layers": rows,
        "heads": [],
    }


def carriers(random, layers, heads):
    rows = []
    for layer in range(layers):
        for head in range(heads):
            rescued = random.random(23) < 0.1 + 0.2 * layer
            back = 0.05 * (layer - 0.5) + 0.01 * head
            rows.append(
                {"layer": layer, "head": head, "module": f"blocks.{layer}", "n": 23}
                | {"recovered": back, "recovered_low": back - 0.03, "recovered_high": back + 0.03}
                | written("rescued", share(rescued))
                | {"gain": back, "gain_low": back - 0.03, "gain_high": back + 0.03}
                | {"p": 0.001, "p_corrected": 0.3 if layer == 0 else 0.01}
            )
    return {"replacement": "clean", "n": 23, "seed": 0, "heads": rows}


def reattack(random, whole, without):
    """What is left under attack with and without the carriers; old images are withstood by whoever has lost heads."""
    from archaeology.robustness.reattack import Outcome, Reattack

    def outcome(robust, old):
        clean, old_images, attacked = drawn(random, [0.95, old, robust])
        return Outcome(clean, old_images, attacked & clean)

    others = tuple(outcome(whole, 0.4) for _ in range(3))
    heads = (((0, 0), (1, 0)), ((0, 1), (1, 0)), ((0, 0), (2, 1)))
    found = Reattack(((2, 0), (1, 1)), heads, outcome(whole, whole), outcome(without, 0.9), others, "pgd", 0)
    return found.describe()


def picture(random, name):
    pixels = random.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return {
        "id": "test/00007.png", "specimen": name, "attack": "pgd", "norm": "linf", "epsilon": 4 / 255,
        "answer_before": "ship", "answer_after": "aeroplane with long name", "image": png(pixels),
        "adversarial": png(pixels // 2), "change": png(255 - pixels), "amplified": 31.875, "method": "rollout",
        "title": "Rollout", "map_before": random.random((3, 4)).round(3).tolist(),
        "map_after": random.random((3, 4)).round(3).tolist(), "map_shift": 0.02,
    }  # fmt: skip


def png(pixels):
    """Colours as a PNG file in base64."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="png")
    return base64.b64encode(file.getvalue()).decode("ascii")
