"""A checkpoint is a folder anyone can read: tensors, the facts to rebuild the model, and a card for people."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from archaeology.core.storage import json_text, write_json, write_tensors, write_text

FORMAT = 1
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def save_checkpoint(
    folder: Path,
    state: Mapping[str, Tensor],
    *,
    architecture: str,
    arguments: Mapping[str, Any],
    classes: Sequence[str],
    image_size: tuple[int, int],
    mean: Sequence[float],
    std: Sequence[float],
    facts: Mapping[str, Any],
    weights: str = "float32",
) -> None:
    """Write `model.safetensors`, `config.json` and `README.md` into `folder`, each atomically.

    Args:
        folder: Made where it is missing.
        state: Parameters and buffers of the model, whole.
        architecture: The registered name that rebuilds it.
        arguments: What to rebuild it with.
        classes: Names, in the order of the logits.
        image_size: Height and width in pixels.
        mean: Of the normalisation, per channel in [0, 1].
        std: Of the normalisation.
        facts: What the card says: recipe, command, seed, data, accuracy, time.
        weights: "float32", or "bfloat16" for half the size (floating tensors only).
    """
    dtype = DTYPES[weights]
    tensors = {
        name: tensor.to(dtype) if tensor.is_floating_point() else tensor for name, tensor in state.items()
    }
    config = {
        "format": FORMAT,
        "architecture": architecture,
        "arguments": dict(arguments),
        "classes": list(classes),
        "image_size": list(image_size),
        "mean": list(mean),
        "std": list(std),
        "facts": dict(facts),
    }
    write_tensors(folder / "model.safetensors", tensors, {"format": "pt"})
    write_json(folder / "config.json", config)
    write_text(
        folder / "README.md", model_card(architecture, sum(t.numel() for t in tensors.values()), config)
    )


def model_card(architecture: str, num_numbers: int, config: Mapping[str, Any]) -> str:
    """The README of a checkpoint: what it is, what it reaches, and how it was made."""
    facts = config["facts"]
    lines = [
        "---",
        "library_name: attention-archaeology",
        "pipeline_tag: image-classification",
        "license: apache-2.0",
        "---",
        "",
        f"# {facts.get('recipe', architecture)}",
        "",
        f"`{architecture}` with {num_numbers:,} numbers for {len(config['classes'])} classes at "
        f"{config['image_size'][0]} x {config['image_size'][1]} pixels.",
        "",
        "| fact | value |",
        "|---|---|",
    ]
    lines += [f"| {name.replace('_', ' ')} | {_cell(value)} |" for name, value in facts.items()]
    lines += [
        "",
        "Arguments that rebuild it:",
        "",
        "```json",
        json_text(config["arguments"]).rstrip(),
        "```",
        "",
    ]
    return "\n".join(lines)


def _cell(value: Any) -> str:
    if isinstance(value, Mapping) and {"value", "low", "high", "n"} <= set(value):
        against = f"; {value['attack']}" if "attack" in value else ""
        interval = f"95 % interval {value['low']:.4f} to {value['high']:.4f}, n = {value['n']:,}"
        return f"{value['value']:.4f} ({interval}{against})"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {item}" for key, item in value.items())
    return f"`{value}`" if isinstance(value, str) and " " in value else str(value)
