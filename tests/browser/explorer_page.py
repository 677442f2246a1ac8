"""Made-up subjects of every kind for the explorer's browser tests, and a page that shows them."""

import json
from pathlib import Path

import numpy as np

from archaeology.explorer.pack import Plain, SquareRoot, pack

LABELS = ("local", "broad", "edge-driven", "object", "sink", "mixed")
PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Explorer</title><link rel="icon" href="data:,"><style>
body { margin: 0; padding: clamp(.6rem, 2vw, 2rem); background: #fefefd; }
@media (prefers-color-scheme: dark) { body { background: #16181b; color: #e6e4df } }
</style></head><body><main><h1 style="font: 600 1.1rem serif; margin: 0 0 1rem">Explorer</h1>
<div id="here"></div></main>
<script type="module">
import { mount } from "./explorer.js";
const subjects = SUBJECTS;
const wanted = new URLSearchParams(location.search);
const chosen = wanted.get("only") ? subjects.filter((one) => one.id === wanted.get("only")) : subjects;
const bytes = (name) => fetch(name).then((answer) => answer.arrayBuffer());
const source = { subjects: chosen, load: (id) => bytes(`${id}.aax`) };
if (wanted.has("rows")) source.rows = (id, model, query) => bytes(`${id}-row.aax`);
window.told = [];
const options = { prefix: "x" };
if (wanted.has("acts")) Object.assign(options, { onHead: (one) => told.push(one), onPatch: (one) => told.push(one) });
window.handle = mount(document.getElementById("here"), source, options);
handle.ready.then(() => { document.body.dataset.ready = "yes"; });
</script></body></html>"""


def photo(size: int, seed: int) -> np.ndarray:
    """Something with a sky, a hill and a round thing: [row, column, colour] of uint8."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:size, 0:size] / size
    image = np.stack([0.55 - 0.2 * y, 0.7 - 0.15 * y, 0.9 - 0.1 * y], -1)
    hill = y > 0.65 + 0.12 * np.sin(5 * x + seed)
    image[hill] = np.array([0.25, 0.45, 0.2]) * (1.4 - y[hill, None])
    ball = (x - 0.42) ** 2 + (y - 0.5) ** 2 < 0.05
    image[ball] = np.array([0.85, 0.45, 0.25]) * (1.15 - 0.8 * (x[ball, None] - 0.25))
    image += random.normal(0, 0.02, image.shape)
    return (255 * image.clip(0, 1)).astype(np.uint8)


def patterns(layers: int, heads: int, side: int, prefix: int, seed: int) -> list[np.ndarray]:
    """Heads that look near, at the ball, at the class token or anywhere: for each layer [head, query, key]."""
    random = np.random.default_rng(seed)
    y, x = (one.ravel() / (side - 1) for one in np.mgrid[0:side, 0:side])
    ball = np.exp(-((x - 0.42) ** 2 + (y - 0.5) ** 2) / 0.03)
    away = (x[:, None] - x) ** 2 + (y[:, None] - y) ** 2
    found = []
    for layer in range(layers):
        made = []
        for head in range(heads):
            reach = 0.004 * (1 + head) * (1 + layer)
            scores = -away / reach + (layer / layers) * 2.5 * ball + random.normal(0, 0.5, away.shape)
            whole = random.normal(0, 0.6, (side * side + prefix, side * side + prefix))
            whole[prefix:, prefix:] += scores
            whole[:prefix, prefix:] += 1.2 + 2.4 * ball
            whole[prefix:, :prefix] += (head % 4 == 3) * 4 * layer / layers
            weights = np.exp(whole - whole.max(-1, keepdims=True))
            made.append(weights / weights.sum(-1, keepdims=True))
        found.append(np.stack(made).astype(np.float32))
    return found


def heads_of(layers: int, heads: int, seed: int) -> list[dict]:
    random = np.random.default_rng(seed)
    found = []
    for layer in range(layers):
        for head in range(heads):
            value = float(random.normal(0.004, 0.008))
            found.append(
                {
                    "layer": layer,
                    "head": head,
                    "label": LABELS[(layer + head) % 6],
                    "entropy": 1 + 4 * random.random(),
                    "distance": 20 + 90 * random.random(),
                    "participation": random.random(),
                    "class_token_mass": random.random() ** 2,
                    "effect": {"value": value, "low": value - 0.006, "high": value + 0.006, "n": 1000},
                }
            )
    return found


def heat(method: str, title: str, side: int, seed: int, state="drawn", is_signed=False) -> dict:
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:side, 0:side] / (side - 1)
    values = 4 * np.exp(-((x - 0.42) ** 2 + (y - 0.5) ** 2) / 0.05) + random.random((side, side))
    values = values / values.mean() if not is_signed else values - 1.6
    return {
        "method": method,
        "title": title,
        "says": f"how much each patch counts, as {title} reckons it.",
        "formula": "A = product over layers of (mean of heads + identity) / 2",
        "unit": "" if is_signed else "x an even share",
        "rows": side,
        "columns": side,
        "values": Plain(values.astype(np.float32)) if state == "drawn" else None,
        "shared": None if is_signed else [0.0, 6.0],
        "knows_class": method != "rollout",
        "is_signed": is_signed,
        "state": state,
    }


def answer(name: str, confidence: float, is_right: bool | None) -> dict:
    return {"name": name, "confidence": confidence, "is_right": is_right}


def cnn() -> dict:
    return {
        "key": "cnn",
        "kind": "cnn",
        "name": "ResNet-50",
        "answer": answer("orange", 0.71, True),
        "logits": None,
        "layout": None,
        "attention": None,
        "heads": [],
        "maps": [
            heat("grad_cam", "Grad-CAM", 7, 5),
            heat("integrated_gradients", "Integrated gradients", 14, 6, is_signed=True),
            heat("legrad", "LeGrad", 7, 5, state="missing"),
        ],
    }


def vit(layers=12, heads=12, side=14, prefix=("class",), seed=0) -> dict:
    made = patterns(layers, heads, side, len(prefix), seed)
    return {
        "key": "vit",
        "kind": "vit",
        "name": "ViT-Base, patch 16",
        "answer": answer("tennis ball", 0.934, False),
        "logits": None,
        "layout": {
            "rows": side,
            "columns": side,
            "prefix": list(prefix),
            "readout": "class_token" if prefix else "mean",
        },
        "attention": {
            "kind": "token",
            "queries": None,
            "readout": None,
            "layers": [
                {
                    "name": f"blocks.{i}.attn",
                    "rows": side,
                    "columns": side,
                    "heads": heads,
                    "pattern": SquareRoot(one),
                    "places": None,
                }
                for i, one in enumerate(made)
            ],
        },
        "heads": heads_of(layers, heads, seed),
        "maps": [
            heat("rollout", "Rollout", side, 1),
            heat("relevance", "Relevance", side, 2),
            heat("grad_cam", "Grad-CAM", side, 3, state="empty"),
        ],
    }


def readout_only() -> dict:
    model = vit(layers=4, heads=6, side=20)
    attention = model["attention"]
    rows = np.stack([layer["pattern"].values[:, 0, 1:] for layer in attention["layers"]])
    for layer in attention["layers"]:
        layer["pattern"] = None
    return model | {"attention": attention | {"readout": SquareRoot(rows)}}


def cross() -> dict:
    words = "a round orange ball lies on a green hill".split()
    layers = [one[:, 1 : 1 + len(words), 1:] for one in patterns(4, 8, 14, 1, 9)]
    layers = [one / one.sum(-1, keepdims=True) for one in layers]
    return {
        "key": "captioner",
        "kind": "encoder-decoder",
        "name": "Captioner",
        "answer": None,
        "logits": None,
        "layout": None,
        "heads": [],
        "maps": [],
        "attention": {
            "kind": "cross",
            "queries": words,
            "readout": None,
            "layers": [
                {
                    "name": f"decoder.{i}.cross",
                    "rows": 14,
                    "columns": 14,
                    "heads": 8,
                    "pattern": SquareRoot(one),
                    "places": None,
                }
                for i, one in enumerate(layers)
            ],
        },
    }


def window_places(side: int, window: int, shift: int) -> np.ndarray:
    """Which place each token of each window lies at."""
    places = np.arange(side * side).reshape(side, side)
    places = np.roll(places, (-shift, -shift), (0, 1))
    count = side // window
    return (
        places.reshape(count, window, count, window)
        .transpose(0, 2, 1, 3)
        .reshape(count * count, window * window)
    )


def windowed() -> dict:
    random = np.random.default_rng(4)
    layers = []
    for i, (side, heads) in enumerate([(28, 3), (28, 3), (14, 6), (14, 6), (7, 12)]):
        places = window_places(side, 7, 3 if i % 2 and side > 7 else 0)
        weights = np.exp(random.normal(0, 1.3, (len(places), heads, 49, 49)))
        weights /= weights.sum(-1, keepdims=True)
        layers.append(
            {
                "name": f"layers.{i}.attn",
                "rows": side,
                "columns": side,
                "heads": heads,
                "pattern": SquareRoot(weights.astype(np.float32)),
                "places": Plain(places.astype(np.int32)),
            }
        )
    return {
        "key": "swin",
        "kind": "vit",
        "name": "Swin-Tiny",
        "answer": answer("orange", 0.88, True),
        "logits": None,
        "layout": {"rows": 7, "columns": 7, "prefix": [], "readout": "mean"},
        "heads": [],
        "maps": [],
        "attention": {"kind": "window", "queries": None, "readout": None, "layers": layers},
    }


def subject(name: str, title: str, models: list[dict], seed=0, size=224, note=None) -> dict:
    pixels = photo(size, seed)
    return {
        "schema": 1,
        "id": name,
        "title": title,
        "label": "orange",
        "note": note,
        "image": {"width": size, "height": size, "pixels": Plain(pixels)},
        "models": models,
    }


def subjects() -> list[dict]:
    return [
        subject("both", "An orange on a hill", [vit(), cnn()], note="Only the ViT is wrong."),
        subject(
            "registers",
            "With registers",
            [vit(6, 6, 8, ("class", "register", "register", "register", "register"), 3)],
            seed=1,
        ),
        subject("mean", "A small picture", [vit(6, 4, 8, (), 5), cnn()], seed=2, size=32),
        subject("readout", "Too many tokens", [readout_only(), cnn()], seed=3),
        subject("cross", "Words and patches", [cross()], seed=4),
        subject("window", "Windows", [windowed(), cnn()], seed=5),
        subject("cnn", "Only a CNN <b>here</b>", [cnn()], seed=6),
    ]


def write_page(folder: Path, static: Path) -> None:
    """The modules, the subjects and `index.html`."""
    for path in static.glob("*.js"):
        (folder / path.name).write_bytes(path.read_bytes())
    sheet = json.dumps((static / "explorer.css").read_text(encoding="utf-8"))
    (folder / "style.js").write_text(
        f"export const STYLE = {sheet};\n", encoding="utf-8"
    )  # as the bundle does
    listed = []
    for one in subjects():
        (folder / f"{one['id']}.aax").write_bytes(pack(one))
        listed.append(
            {
                "id": one["id"],
                "title": one["title"],
                "note": one["note"],
                "group": "wrong" if one["note"] else "right",
            }
        )
    row = np.random.default_rng(0).random((4, 6, 401), dtype=np.float32)
    (folder / "readout-row.aax").write_bytes(
        pack({"schema": 1, "rows": SquareRoot(row / row.sum(-1, keepdims=True))})
    )
    (folder / "index.html").write_text(PAGE.replace("SUBJECTS", json.dumps(listed)), encoding="utf-8")
