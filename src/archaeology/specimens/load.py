"""Any model by one line of text: `load("timm:vit_base_patch16_224")`, `load("run:runs/mine")`."""

import json
from pathlib import Path
from typing import Any

from archaeology.core.device import choose_device
from archaeology.core.errors import UnknownNameError
from archaeology.specimens.naming import suggested_specs
from archaeology.specimens.registry import libraries as libraries
from archaeology.specimens.specimen import Specimen


def load(spec: str, *, device: str = "auto") -> Specimen:
    """The model that `spec` names, in evaluation mode, on `device`.

    Args:
        spec: `PREFIX:NAME[?key=value&...]`, where PREFIX is `bundled`, `run`, `timm`, `torchvision`, `hf` or
            `open_clip`. Values are read as JSON where they are JSON, as in
            `timm:vit_tiny_patch16_224?pretrained=false&img_size=64`. `pretrained=false` gives random weights,
            the same ones for the same `seed` (0 if not given).
        device: auto, cpu, cuda, cuda:N or mps.

    Raises:
        UnknownNameError: If the prefix or the name is unknown; the message suggests the nearest one.
        ValueError: If the options do not fit, or the checkpoint is broken.
        ConnectionError: If weights have to be fetched and cannot be.
        MissingExtraError: If the library is not installed.
    """
    chosen = choose_device(device)
    prefix, name, options = parse(spec)
    specimen = libraries.get(prefix)(name, options)
    specimen.model.to(chosen).eval()
    return specimen


def parse(spec: str) -> tuple[str, str, dict[str, Any]]:
    """Prefix, name and options of a spec.

    Raises:
        UnknownNameError: If there is no known prefix; suggests one that knows the name.
        ValueError: If the name is empty or an option is not `key=value`.
    """
    prefix, colon, rest = spec.partition(":")
    # A spec without a prefix, or a path such as C:\runs\mine, which only looks as if it had one.
    if not colon or (prefix not in libraries and Path(spec).exists()):
        raise _without_prefix(spec)
    libraries.get(prefix)
    name, _, query = rest.partition("?")
    if not name:
        raise ValueError(f"A spec must be PREFIX:NAME, but got {spec!r}, which has no name after the colon.")
    return prefix, name, dict(_option(part, spec) for part in query.split("&") if part)


def _option(text: str, spec: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise ValueError(f"Options of a spec must be key=value joined by '&', but got {text!r} in {spec!r}.")
    try:
        return key, json.loads(value)
    except json.JSONDecodeError:
        return key, value


def _without_prefix(spec: str) -> UnknownNameError:
    name, mark, query = spec.partition("?")
    meant = [f"{suggested}{mark}{query}" for suggested in suggested_specs(name)]
    hint = f"did you mean {' or '.join(map(repr, meant))}? " if meant else ""
    return UnknownNameError(
        f"A model is named PREFIX:NAME, but got {spec!r}; {hint}Prefixes: {', '.join(libraries)}."
    )
