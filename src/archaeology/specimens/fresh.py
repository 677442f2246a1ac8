"""The same architecture with random weights: what a model knows before it has learned anything."""

from dataclasses import replace
from pathlib import Path

import torch

from archaeology.core.seeding import derived_seed
from archaeology.core.storage import read_json
from archaeology.models.image_text import ImageText
from archaeology.models.registry import build
from archaeology.specimens.bundled import bundled_folder
from archaeology.specimens.load import load, parse
from archaeology.specimens.options import spec_of
from archaeology.specimens.specimen import Specimen


def fresh(spec: str, *, seed: int = 0, device: str = "auto") -> Specimen:
    """The model that `spec` names with fresh weights, prepared as it is, in evaluation mode.

    Args:
        spec: As for `load`. Checkpoints of ours are built anew; other libraries are asked with `pretrained=false`.
        seed: Of the weights; the same gives the same.
        device: auto, cpu, cuda, cuda:N or mps.

    Raises:
        UnknownNameError: As `load`.
        ValueError: Likewise.
        FileNotFoundError: Likewise.
    """
    prefix, name, options = parse(spec)
    if prefix not in ("run", "bundled"):
        anew = {key: value for key, value in options.items() if key not in ("file", "pretrained", "seed")}
        return load(spec_of(prefix, name, {**anew, "pretrained": False, "seed": seed}), device=device)
    folder = bundled_folder() / name if prefix == "bundled" else Path(name)
    with torch.random.fork_rng(devices=[]):
        trained = load(spec, device=device)
        config = read_json(folder / "config.json")
        torch.default_generator.manual_seed(derived_seed(seed, "fresh weights"))
        model = build(config["architecture"], config["arguments"])
    facts = {**trained.facts, "weights": f"random, seed {seed}"}
    tower = model.image if isinstance(model, ImageText) else model
    name = f"{trained.name} with random weights"
    return replace(trained, name=name, model=tower.to(trained.device).eval(), facts=facts)
