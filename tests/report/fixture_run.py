"""A run directory made up from a seed, exactly as the contract says, so that figures and report can be tested."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from archaeology.core.intervals import bootstrap_means, mcnemar, paired_bootstrap, wilson
from archaeology.core.pictures import png_text
from archaeology.core.storage import sha256_of, write_arrays, write_json, write_table
from archaeology.evaluate.judge import judges as every_judge
from archaeology.evaluate.leaderboard import leaderboard
from archaeology.evaluate.sheet import Sheet
from archaeology.stats.labels import LABELS, MIXED

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
STATISTICS = ("entropy", "distance", "participation", "largest_weight", "gini", "class_token_mass")


@dataclass(frozen=True)
class Plan:
    """What to make up."""

    layers: int = 6
    heads: int = 4
    rows: int = 8
    columns: int = 8
    image_size: int = 32
    num_images: int = 200
    labelled: bool = True
    prefix: tuple[str, ...] = ("class",)
    classes: tuple[str, ...] = CLASSES
    num_layer_images: int = 20
    num_pairs: int = 50
    full_attention: bool = True
    seed: int = 0
    names: tuple[str, str] = ("bundled:vit_cifar10", "bundled:convnet_cifar10")
    image_ids: tuple[str, ...] = ()
    findings: tuple[dict, ...] = field(default=())
    forensics: bool = True
    known_truth: bool = True


QUALITIES = {  # how good the made-up maps of each model are, 0 for chance
    "vit": {
        "raw_attention": 0.25, "rollout": 0.2, "attention_flow": 0.05, "attention_times_gradient": 0.6,
        "gradient_rollout": 0.7, "relevance": 1.0, "legrad": 0.8, "grad_cam": 0.5, "grad_cam_plus_plus": 0.45,
        "gradient": 0.15, "smooth_grad": 0.2, "integrated_gradients": 0.6, "lrp": 0.8, "occlusion": 0.75, "random": 0.0,
    },
    "cnn": {
        "grad_cam": 1.0, "grad_cam_plus_plus": 0.95, "gradient": 0.2, "smooth_grad": 0.3, "integrated_gradients": 0.5,
        "lrp": 0.6, "occlusion": 0.9, "random": 0.0,
    },
}  # fmt: skip
STAYS_ALIKE = ("attention_flow", "rollout")  # in the randomization check
FAITHFUL = ("srg", "road", "sensitivity_n", "deletion", "insertion")
TRUTHFUL = ("pointing_game", "mass_inside")
OTHERS = ("randomization", "stability", "complexity")

FINDINGS = (
    {
        "title": "Attention spreads out with depth",
        "text": "Mean entropy of a head goes from 2.35 nats in the first layer to 3.75 in the last (rank "
        "correlation with depth +0.71 over 24 heads, p < 0.001).",
        "evidence": "entropy",
        "strength": 3.4,
    },
    {
        "title": "They fail on the same images",
        "text": "The odds of one failing are 3.3 times as high where the other fails (95 % interval 1.4 to 8.0).",
        "evidence": "failures",
        "strength": 5.2,
    },
    {
        "title": "Head 4 of layer 1 matters most",
        "text": "Replacing its output by its mean raises the loss by 0.068 (95 % interval 0.025 to 0.11, n = 64).",
        "evidence": "ablation",
        "strength": 1.6,
    },
)
SMALL = Plan()
LARGE = Plan(
    layers=12, heads=12, rows=14, columns=14, image_size=224, num_images=1000, full_attention=False,
    names=("timm:vit_base_patch16_224", "torchvision:resnet50"),
)  # fmt: skip


def write_run(path: Path, plan: Plan = SMALL, pixels: np.ndarray | None = None) -> Path:
    """Write a complete run directory to `path`; `pixels` replace the made-up pictures (image channel height width)."""
    random = np.random.default_rng(plan.seed)
    images = made_up_images(plan, random)
    pairs = worst_first(images)[: plan.num_pairs]
    layer_images = sorted(random.choice(plan.num_images, plan.num_layer_images, replace=False).tolist())
    shown = sorted({*pairs, *layer_images})
    where = random.uniform(0.25, 0.75, (len(shown), 2))
    drawn = np.stack([picture(plan.image_size, spot, random) for spot in where]) if pixels is None else pixels
    write_specimens(path, plan, random, drawn[: len(shown)], where, shown, pairs, layer_images)
    results = summarised(plan, images)
    heads = made_up_heads(plan, random)
    if plan.forensics:
        add_forensics(path, plan, heads, results)
    write_table(path / "images.parquet", images)
    write_table(path / "heads.parquet", heads)
    write_table(path / "metrics.parquet", long_form(plan, results))
    write_json(path / "results.json", results)
    write_json(path / "config.json", {"images": plan.num_images, "seed": plan.seed})
    write_json(path / "run.json", run_facts(plan))
    return path


def made_up_images(plan: Plan, random: np.random.Generator) -> list[dict]:
    """Labels and predictions of two models that share some of their difficulties."""
    difficulty = random.normal(size=plan.num_images)
    labels = random.integers(len(plan.classes), size=plan.num_images)
    rows = []
    for index, label in enumerate(labels):
        row = {
            "id": plan.image_ids[index] if index < len(plan.image_ids) else f"test/{index:05d}.png",
            "sha256": sha256_of(str(index)),
            "label": int(label) if plan.labelled else None,
            "label_name": plan.classes[label] if plan.labelled else None,
        }
        for model, skill in (("vit", 1.1), ("cnn", 1.5)):
            margin = skill - 0.8 * difficulty[index] + random.normal()
            guess = int(label) if margin > 0 else int((label + 1 + random.integers(2)) % len(plan.classes))
            row[f"{model}_prediction"] = guess
            row[f"{model}_prediction_name"] = plan.classes[guess]
            row[f"{model}_confidence"] = float(1 / (1 + np.exp(-abs(margin) * 1.3)))
            row[f"{model}_correct"] = guess == label if plan.labelled else None
        rows.append(row | {"failure": failure_type(row) if plan.labelled else None})
    return rows


def worst_first(images: list[dict]) -> list[int]:
    """Row numbers: failures in turn with successes, four to one."""
    failed = [index for index, row in enumerate(images) if row["failure"] not in ("none", None)]
    fine = [index for index in range(len(images)) if index not in set(failed)]
    return [index for at, good in enumerate(fine) for index in (*failed[4 * at : 4 * at + 4], good)]


def failure_type(row: dict) -> str:
    """The contract's word for who was wrong."""
    if row["vit_correct"] or row["cnn_correct"]:
        return {(1, 1): "none", (0, 1): "vit-only", (1, 0): "cnn-only"}[
            row["vit_correct"], row["cnn_correct"]
        ]
    return "both-same" if row["vit_prediction"] == row["cnn_prediction"] else "both-different"


def interval(found) -> dict:
    """An interval as results.json holds it."""
    return {name: getattr(found, name) for name in ("value", "low", "high", "n", "method")}


def summarised(plan: Plan, images: list[dict]) -> dict:
    """results.json, computed from the made-up images with the library's own intervals."""
    n = len(images)
    agree = wilson(sum(row["vit_prediction"] == row["cnn_prediction"] for row in images), n)
    results: dict = {
        "accuracy": None,
        "mcnemar": None,
        "failures": None,
        "agreement": interval(agree),
        "n": n,
    }
    results["findings"] = list(plan.findings or FINDINGS)
    if not plan.labelled:
        return results
    vit, cnn = (np.array([row[f"{model}_correct"] for row in images]) for model in ("vit", "cnn"))
    test = mcnemar(vit, cnn)
    results["accuracy"] = {
        "vit": interval(wilson(int(vit.sum()), n)),
        "cnn": interval(wilson(int(cnn.sum()), n)),
        "difference": interval(paired_bootstrap(vit, cnn)),
    }
    results["mcnemar"] = {
        "only_vit_right": test.only_first,
        "only_cnn_right": test.only_second,
        "n": n,
        "p_value": test.p_value,
    }
    table = (
        np.array([[(vit & cnn).sum(), (vit & ~cnn).sum()], [(~vit & cnn).sum(), (~vit & ~cnn).sum()]]) + 0.5
    )
    log_odds = np.log(table[0, 0] * table[1, 1] / table[0, 1] / table[1, 0])
    half = 1.96 * np.sqrt((1 / table).sum())
    kinds = ("none", "vit-only", "cnn-only", "both-same", "both-different")
    results["failures"] = {kind: sum(row["failure"] == kind for row in images) for kind in kinds}
    results["failures"]["independence"] = {
        "expected_both_wrong": float((1 - vit.mean()) * (1 - cnn.mean()) * n),
        "observed_both_wrong": int((~vit & ~cnn).sum()),
        "odds_ratio": float(np.exp(log_odds)),
        "low": float(np.exp(log_odds - half)),
        "high": float(np.exp(log_odds + half)),
    }
    return results


def made_up_heads(plan: Plan, random: np.random.Generator) -> list[dict]:
    """heads.parquet: early layers look near and far, late ones far and at the class token; few heads matter."""
    size, top = plan.image_size, np.log(plan.rows * plan.columns + len(plan.prefix))
    rows = []
    for layer in range(plan.layers):
        depth = layer / max(plan.layers - 1, 1)
        for head in range(plan.heads):
            middle = {
                "entropy": top * np.clip(random.normal(0.62 + 0.3 * depth, 0.12), 0.1, 0.995),
                "distance": size * np.clip(random.normal(0.2 + 0.25 * depth, 0.08), 0.05, 0.5),
                "participation": np.clip(random.normal(0.25 + 0.4 * depth, 0.1), 0.02, 0.95),
                "largest_weight": np.clip(random.normal(0.3 - 0.2 * depth, 0.06), 0.02, 0.9),
                "gini": np.clip(random.normal(0.7 - 0.3 * depth, 0.08), 0.1, 0.95),
                "class_token_mass": np.clip(random.normal(0.05 + 0.2 * depth, 0.06), 0.001, 0.9),
            }
            if "class" not in plan.prefix:
                middle["class_token_mass"] = np.nan
            row = {"model": "vit", "layer": layer, "head": head, "module": f"blocks.{layer}.attn"}
            for name in STATISTICS:
                half = 0.02 * abs(middle[name])
                row |= {
                    name: float(middle[name]),
                    f"{name}_low": float(middle[name] - half),
                    f"{name}_high": float(middle[name] + half),
                }
            row["n"] = plan.num_images
            effect = random.gamma(0.6, 0.012) * (1.8 - depth) * (random.random() < 0.6)
            drops = random.normal(effect, 0.07, (64, 1))
            rises = random.normal(3.1 * effect, 0.2, (64, 1))
            for name, samples in (("ablation_accuracy", drops), ("ablation_loss", rises)):
                found = bootstrap_means(samples, resamples=200)[0] if plan.labelled else None
                row[name] = found.value if found else float("nan")
                row[f"{name}_low"] = found.low if found else float("nan")
                row[f"{name}_high"] = found.high if found else float("nan")
            row["ablation_n"] = 64 if plan.labelled else 0
            rows.append(row)
    return rows


def add_forensics(path: Path, plan: Plan, heads: list[dict], results: dict) -> None:
    """Leaderboards, labels of heads, pruning and ablated layers: the parts that older and smaller runs lack."""
    random = np.random.default_rng(plan.seed + 1)
    boards = {model: leaderboard(made_up_sheet(plan, model, random), resamples=200) for model in QUALITIES}
    results["leaderboard"] = {model: board.describe() for model, board in boards.items()}
    rows = [{"model": model} | row for model, board in boards.items() for row in board.rows()]
    write_table(path / "explanations.parquet", rows)
    for head in heads:
        head |= made_up_label(plan, head, random)
    results["pruning"] = None
    if plan.labelled:
        results["pruning"] = write_pruning(path, plan, random)
        write_table(path / "layers.parquet", made_up_layers(plan, random))
        write_json(path / "causes.json", made_up_causes(plan))


def made_up_causes(plan: Plan) -> dict:
    """causes.json: contrast goes with failing for the ViT, one shortcut and copies were found, with two pictures."""
    random = np.random.default_rng(plan.seed + 2)
    fifth = max(1, plan.num_images // 5)

    def ends(found) -> dict:
        return interval(found) | {"level": 0.95}

    attributes = []
    for model, name in enumerate(plan.names):
        for place, title in enumerate(
            ("brightness", "contrast", "saturation", "sharpness", "density of edges")
        ):
            slope = 0.09 if (model, place) == (0, 1) else 0.0
            hits = [int(fifth * (0.55 + slope * part)) + int(random.integers(-2, 3)) for part in range(5)]
            hits = [min(max(one, 0), fifth) for one in hits]
            gap = (hits[4] - hits[0]) / fifth
            attributes.append(
                {
                    "title": title,
                    "unit": "0 to 1",
                    "model": name,
                    "attribute": title,
                    "p_value": 0.2,
                    "examples": [1],
                }
                | {
                    "shares": [ends(wilson(one, fifth)) for one in hits],
                    "p_corrected": 0.004 if slope else 1.0,
                }
                | {
                    "difference": {
                        "value": gap,
                        "low": gap - 0.2,
                        "high": gap + 0.2,
                        "n": fifth,
                        "method": "made up",
                    }
                }
            )
    shortcut = {"kind": "shortcut", "model": plan.names[1], "what": "brightness", "target": plan.classes[0]}
    effect = ends(wilson(72, 96))
    cause = shortcut | {
        "title": f"{plan.names[1].split(':')[-1]} knows {plan.classes[0]} by its brightness",
        "text": f"Images of {plan.classes[0]} are bright: median 0.84, of the others 0.45.",
        "measure": f"more answers {plan.classes[0]} than under the controls",
        "effect": effect,
        "p_value": 1e-9,
        "p_corrected": 1e-7,
        "examples": [0, 3],
    }
    seen = np.zeros((8, 8, 3), np.uint8)
    seen[:, 4:, 0] = 255
    return {
        "n": plan.num_images,
        "num_questions": 86,
        "level": 0.05,
        "ids": [
            plan.image_ids[row] if row < len(plan.image_ids) else f"test/{row:05d}.png" for row in range(4)
        ],
        "causes": [cause],
        "asked": [shortcut | {"p_value": 1e-9, "p_corrected": 1e-7}],
        "attributes": attributes,
        "label_errors": {
            "reason": "",
            "share": ends(wilson(1, plan.num_images)),
            "suspects": [2],
            "proposed": [1],
            "margin": [0.5],
        },
        "duplicates": {"pairs": [[1, 2]], "cosine": [1.0], "is_exact": [True], "within": True},
        "roles": dict(zip(("vit", "cnn"), plan.names, strict=True)),
        "classes": list(plan.classes),
        "labels": [0] * plan.num_images,
        "pictures": {str(row): png_text(seen) for row in (0, 3)},
    }


def made_up_sheet(plan: Plan, model: str, random: np.random.Generator) -> Sheet:
    """Marks of 60 images: each method's quality above chance, with noise."""
    qualities, n = QUALITIES[model], 60
    judges = FAITHFUL + (TRUTHFUL if plan.known_truth and plan.labelled else ()) + OTHERS
    score = np.empty((len(qualities), len(judges), n))
    chance = np.full_like(score, np.nan)
    area = random.uniform(0.1, 0.5, n)
    for row, (method, quality) in enumerate(qualities.items()):
        for column, judge in enumerate(judges):
            base = {
                "pointing_game": area,
                "mass_inside": 1.0,
                "randomization": 1.0,
                "deletion": 0.5,
                "insertion": 0.5,
            }
            start = base.get(judge, 0.0)
            if every_judge.get(judge).kind == "truth" or judge == "randomization":
                chance[row, column] = start
            gain = -0.7 * (method in STAYS_ALIKE) if judge == "randomization" else 0.3 * quality
            score[row, column] = start + gain + random.normal(0, 0.25, n)
    missing = {name: "the model has no attention" for name in QUALITIES["vit"] if name not in qualities}
    has_evidence = np.ones((len(qualities), n), dtype=bool)
    return Sheet(tuple(qualities), judges, score, chance, has_evidence, random.uniform(0.3, 0.9, n), missing)


def made_up_label(plan: Plan, head: dict, random: np.random.Generator) -> dict:
    """A label and what belongs to it: local heads early, class readers and object heads late; and tests of ablation."""
    depth = head["layer"] / max(plan.layers - 1, 1)
    wanted = {"local": 1.2 - depth, "positional": 0.8 - 0.6 * depth, "sink": 0.5, "broad": 0.3 * depth}
    wanted |= {
        "class reader": 0.6 * depth * ("class" in plan.prefix),
        "object-driven": 0.8 * depth,
        MIXED: 0.5,
    }
    weights = np.array([max(wanted.get(label, 0.05), 0) for label in LABELS])
    label = str(random.choice(LABELS, p=weights / weights.sum()))
    confidence = random.uniform(0.75, 1) if label != MIXED else random.uniform(0.3, 0.9)
    nearest = str(random.choice(LABELS[:-1])) if label == MIXED else label
    row: dict = {"label": label, "confidence": float(confidence), "nearest": nearest, "holds": [label]}
    for name in ("sink_mass", "relative_distance", "position_share", "edge_alignment", "object_alignment"):
        value = float(random.uniform(0, 1))
        row |= {name: value, f"{name}_low": value - 0.05, f"{name}_high": value + 0.05}
    row |= {"typical": ["test/00003.png", "test/00011.png"], "typical_of": "largest entropy"}
    matters = bool(head["ablation_loss_low"] > 0.03)
    p = (
        float(random.uniform(0, 1e-4) if matters else random.uniform(0.01, 1))
        if plan.labelled
        else float("nan")
    )
    verdict = ("needed" if matters else "not shown to matter") if plan.labelled else None
    corrected = min(1.0, p * plan.layers * plan.heads) if plan.labelled else float("nan")
    return row | {"p": p, "p_corrected": corrected, "matters": matters, "verdict": verdict}


def made_up_layers(plan: Plan, random: np.random.Generator) -> list[dict]:
    """layers.parquet: early layers and MLPs cost most."""
    rows = []
    for layer in range(plan.layers):
        for part in ("attention", "mlp"):
            effect = random.gamma(1.0, 0.06 if part == "attention" else 0.15) * 1.5 / (1 + layer)
            found = bootstrap_means(
                np.stack([random.normal(effect, 0.3, 200), random.normal(3 * effect, 0.5, 200)], axis=1),
                resamples=200,
            )
            row: dict = {"layer": layer, "part": part, "module": f"blocks.{layer}.{part}"}
            for name, item in zip(("ablation_accuracy", "ablation_loss"), found, strict=True):
                row |= {name: item.value, f"{name}_low": item.low, f"{name}_high": item.high}
            matters = found[1].low > 0.02
            row |= {"n": 200, "p": 1e-6 if matters else 0.2, "p_corrected": 2e-5 if matters else 1.0}
            row |= {"matters": matters, "verdict": "needed" if matters else "not shown to matter"}
            rows.append(row)
    return rows


def write_pruning(path: Path, plan: Plan, random: np.random.Generator) -> dict:
    """pruning.parquet, and what results.json says of it."""
    heads, n = plan.layers * plan.heads, 500
    orders = {"greedy": 6.0, "single effects": 3.0, "random 0": 1.1, "random 1": 0.9, "random 2": 0.7}
    rows, means = [], {}
    for order, bend in orders.items():
        places = random.permutation(heads)
        shares = 0.1 + 0.75 * (1 - (np.arange(heads + 1) / heads) ** bend)
        right = [round(n * float(np.clip(share + random.normal(0, 0.0015), 0, 1))) for share in shares]
        for removed, found in enumerate(wilson(hits, n) for hits in right):
            gone = places[removed - 1] if removed else None
            rows.append(
                {"order": order, "removed": removed}
                | {"layer": None if gone is None else int(gone // plan.heads)}
                | {"head": None if gone is None else int(gone % plan.heads)}
                | {"accuracy": found.value, "accuracy_low": found.low, "accuracy_high": found.high}
                | {
                    "loss": 1 - found.value,
                    "loss_low": 0.9 - found.value,
                    "loss_high": 1.1 - found.value,
                    "n": n,
                }
            )
        mean = sum(right) / n / len(right)
        means[order] = {"value": mean, "low": mean - 0.02, "high": mean + 0.02, "n": n}
    write_table(path / "pruning.parquet", rows)
    return {"num_chosen_on": 500, "replacement": "mean", "mean_accuracies": means}


def long_form(plan: Plan, results: dict) -> list[dict]:
    """metrics.parquet."""
    found = results["accuracy"] or {"both": results["agreement"]}
    metric = "accuracy" if results["accuracy"] else "agreement"
    return [
        {
            "model": model,
            "metric": metric,
            "split": "test",
            "attack": None,
            "epsilon": None,
            "seed": plan.seed,
        }
        | {key: item[key] for key in ("value", "low", "high", "n", "method")}
        for model, item in found.items()
    ]


def picture(size: int, spot: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """A bright blob or box over a soft background, so that a heat map has something to look at."""
    y, x = np.mgrid[0:size, 0:size] / size
    slope, colours = random.normal(size=2), random.uniform(40, 215, (3, 3))
    blend = 0.5 + 0.5 * np.sin(3 * (slope[0] * x + slope[1] * y) + random.uniform(0, 6))
    drawn = colours[0][:, None, None] * blend + colours[1][:, None, None] * (1 - blend)
    reach = np.abs(np.stack([y - spot[0], x - spot[1]]))
    inside = reach.max(0) < 0.18 if random.random() < 0.5 else np.hypot(*reach) < 0.2
    drawn = np.where(inside, colours[2][:, None, None] + 25 * np.sin(40 * x), drawn)
    return np.clip(drawn + random.normal(0, 6, (3, size, size)), 0, 255).astype(np.uint8)


def bump(rows: int, columns: int, spot: np.ndarray, width: float) -> np.ndarray:
    """A Gaussian hill at `spot` (shares of height and width)."""
    y, x = np.mgrid[0:rows, 0:columns]
    away = ((y + 0.5) / rows - spot[0]) ** 2 + ((x + 0.5) / columns - spot[1]) ** 2
    return np.exp(-away / (2 * width**2))


MAPS = {
    "vit": {
        "method": "relevance",
        "formula": "R <- R + mean over heads of ReLU(A * d logit / dA) R through all layers; class_token row of R - I",
        "parameters": {},
        "chosen_by": "leaderboard",
        "reason": "lowest mean rank over the judges that count",
    },
    "cnn": {
        "method": "grad_cam",
        "formula": "ReLU(sum_c mean_xy(d logit / d F_c) * F_c), F = output of stages.3",
        "parameters": {"layer": "stages.3"},
        "chosen_by": "default",
        "reason": "no judge counts",
    },
}


def write_specimens(path, plan, random, pixels, where, shown, pairs, layer_images) -> None:
    """specimens.zarr: readout attention, rollout and Grad-CAM that favour the object, with noise and an empty map."""
    grid, n = (plan.rows, plan.columns), len(shown)
    near = np.stack([bump(*grid, spot, 0.15) for spot in where])
    heat = 0.25 + near + random.gamma(1.0, 0.12, (n, *grid))
    rollout = (heat / heat.sum((1, 2), keepdims=True) * 0.97).astype(np.float32)
    cam = np.stack([bump(7, 7, spot + random.normal(0, 0.05, 2), 0.18) for spot in where])
    cam = np.maximum(cam * random.uniform(0.5, 4, (n, 1, 1)) - 0.1, 0).astype(np.float32)
    cam[1] = 0
    depth = np.linspace(0, 1, plan.layers)[None, :, None, None, None]
    sharp = random.uniform(0.3, 3.5, (1, plan.layers, plan.heads, 1, 1))
    objects = near[[shown.index(row) for row in layer_images]]
    scores = sharp * (2 * depth * objects[:, None, None])
    scores = scores + sharp * random.normal(0, 0.8, (len(layer_images), plan.layers, plan.heads, *grid))
    weights = np.exp(scores)
    readout = (0.9 * weights / weights.sum((3, 4), keepdims=True)).astype(np.float16)
    arrays = {
        "pixels": (pixels, ("image", "channel", "height", "width")),
        "image_index": (np.array(shown, dtype=np.int64), ("image",)),
        "readout": (readout, ("layer_image", "layer", "head", "row", "column")),
        "rollout": (rollout, ("image", "row", "column")),
        "grad_cam": (cam, ("image", "row", "column")),
        "grad_cam_vit": (
            (near * random.uniform(0.5, 2, (n, 1, 1))).astype(np.float32),
            ("image", "row", "column"),
        ),
    }
    if plan.forensics:
        own = np.random.default_rng(plan.seed + 2)  # so that what follows is the same with and without
        noisy = near * own.uniform(0.5, 3, (n, 1, 1)) * own.random((n, *grid))
        arrays["vit_map"] = (noisy.astype(np.float32), ("image", "row", "column"))
        arrays["cnn_map"] = (cam, ("image", "row", "column"))
    tokens = plan.rows * plan.columns + len(plan.prefix)
    if plan.full_attention:
        full = random.random((len(layer_images), plan.layers, plan.heads, tokens, tokens), dtype=np.float32)
        full /= full.sum(-1, keepdims=True)
        arrays["attention"] = (full.astype(np.float16), ("layer_image", "layer", "head", "query", "key"))
    attributes = {
        "layers": [f"blocks.{layer}.attn" for layer in range(plan.layers)],
        "rows": plan.rows,
        "columns": plan.columns,
        "prefix": list(plan.prefix),
        "layer_images": layer_images,
        "pair_images": pairs,
    }
    if plan.forensics:
        attributes["maps"] = MAPS
    write_arrays(path / "specimens.zarr", arrays, attributes)


def run_facts(plan: Plan) -> dict:
    """run.json."""
    readout = "class_token" if "class" in plan.prefix else "mean"
    layout = {"rows": plan.rows, "columns": plan.columns, "prefix": list(plan.prefix), "readout": readout}
    common = {"classes": list(plan.classes), "image_size": [plan.image_size, plan.image_size]}
    return {
        "schema_version": 1,
        "status": "complete",
        "provenance": {
            "command": f"archaeology dig --vit {plan.names[0]} --cnn {plan.names[1]} --out runs/example",
            "started": "2026-11-20T21:51:00+00:00",
            "versions": {"python": "3.11.2", "torch": "2.15.0", "timm": "1.0.31", "numpy": "2.3.1"},
            "git": {"commit": "1b8148e0c0ffee0c0ffee0c0ffee0c0ffee0c0ff", "is_dirty": False},
            "machine": {"system": "Linux", "architecture": "x86_64", "cpus": 2},
            "seed": plan.seed,
        },
        "config": {
            "vit": plan.names[0],
            "cnn": plan.names[1],
            "data": "parquet:cifar10",
            "images": plan.num_images,
        },
        "models": {
            "vit": common
            | {
                "name": plan.names[0],
                "kind": "transformer",
                "fingerprint": sha256_of("vit"),
                "num_parameters": 812_554,
            }
            | {"layout": layout, "facts": {"recipe": "vit_cifar10"}},
            "cnn": common
            | {"name": plan.names[1], "kind": "convolutional", "fingerprint": sha256_of("cnn")}
            | {"num_parameters": 534_122, "layout": None, "facts": {}},
        },
        "data": {
            "name": "cifar10",
            "split": "test",
            "fingerprint": sha256_of("data"),
            "classes": list(plan.classes) if plan.labelled else [],
            "num_images": plan.num_images,
            "skipped": [{"id": "test/broken.png", "reason": "the file is empty"}],
        },
        "seconds": {"decode": 1.2, "predict": 8.4, "survey": 12.7, "ablate": 41.3, "explain": 9.9},
    }
