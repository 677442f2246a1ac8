"""The models that the app asks, and what it tells a page of them."""

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from archaeology.app.config import BUNDLED, AppConfig
from archaeology.dig.directory import RunDirectory
from archaeology.explain.method import explanations
from archaeology.specimens.load import load
from archaeology.specimens.specimen import Specimen

log = logging.getLogger("archaeology.app")
KINDS = {"transformer": "vit", "convolutional": "cnn", "other": "cnn"}
FLOOR = "random"  # a map that knows nothing; of use to judges, not to a visitor


@dataclass(frozen=True, eq=False)
class Models:
    """Specimens by key.

    Attributes:
        specimens: "vit" and "cnn", whichever there is.
    """

    specimens: Mapping[str, Specimen]

    def described(self) -> list[dict[str, Any]]:
        """What `/api/setup` says of each."""
        return [
            {
                "key": key,
                "name": one.name,
                "kind": kind_of(one),
                "num_classes": len(one.classes) or None,
                "image_size": list(one.image_size),
                "has_attention": one.kind == "transformer",
            }
            for key, one in self.specimens.items()
        ]

    def methods(self) -> dict[str, list[dict[str, str]]]:
        """Methods of explanation that each allows, by key."""
        return {
            key: [{"name": name, "title": explanations.get(name).title} for name in methods_of(one)]
            for key, one in self.specimens.items()
        }


def kind_of(specimen: Specimen) -> str:
    """What the explorer calls it."""
    return KINDS[specimen.kind]


def methods_of(specimen: Specimen) -> list[str]:
    """Names of the methods that a model allows."""
    found: list[str] = []
    for name in explanations.names():
        method = explanations.get(name)
        blind = method.needs_attention and specimen.kind != "transformer"
        flat = method.needs is not None and method.needs.target_layer and specimen.target_layer is None
        if name != FLOOR and not blind and not flat:
            found.append(name)
    return found


def wanted_specs(config: AppConfig, run: RunDirectory | None) -> dict[str, str]:
    """How each model is named: as the command line says, else as the run says, else the bundled ones."""
    made = {} if run is None else run.run.get("config", {})
    chosen = {"vit": config.vit, "cnn": config.cnn}
    if run is None and all(spec is None for spec in chosen.values()):
        return dict(BUNDLED)
    specs = {key: spec or made.get(key) for key, spec in chosen.items()}
    return {key: spec for key, spec in specs.items() if spec and spec != "none"}


def loaded(config: AppConfig, run: RunDirectory | None) -> Models:
    """All models, loaded, each with a line in the log.

    Raises:
        ValueError: If one cannot be loaded; for one that the run names, says how to do without.
    """
    specimens: dict[str, Specimen] = {}
    for key, spec in wanted_specs(config, run).items():
        started = time.perf_counter()
        log.info("loading %s ...", spec)
        try:
            specimens[key] = load(spec, device=config.device)
        except (ValueError, OSError, ImportError) as error:
            if getattr(config, key) is not None or run is None:
                raise
            raise ValueError(
                f"The run's {key} {spec} cannot be loaded: {error} To look at the run without it, add --{key} none."
            ) from error
        log.info("loaded %s in %.1f s", spec, time.perf_counter() - started)
    return Models(specimens)
