"""What follows the `?` of a spec: what every library offers, and the rest, which is the library's own."""

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from archaeology.specimens.registry import Options

Pair = tuple[int, int]
Triple = tuple[float, float, float]


@dataclass(frozen=True)
class Choices:
    """Options that mean the same for every library.

    Attributes:
        spec: The whole spec, for names and messages.
        pretrained: Whether trained weights are wanted.
        img_size: Height and width in pixels, or None for the model's own.
        num_classes: Logits, or None for the model's own.
        seed: Of random weights.
        mean: Of the normalisation, where the user gives it.
        std: Of the normalisation, where the user gives it.
        file: A local safetensors file to take the weights from instead of the network.
        rest: Every other option, as the library calls it.
    """

    spec: str
    pretrained: bool
    img_size: Pair | None
    num_classes: int | None
    seed: int
    mean: Triple | None
    std: Triple | None
    file: Path | None
    rest: Mapping[str, Any]

    @classmethod
    def read(cls, prefix: str, name: str, options: Options) -> "Choices":
        """Take the common options out of `options`.

        Raises:
            ValueError: If a value has the wrong type.
        """
        rest = dict(options)
        spec = spec_of(prefix, name, options)
        file = rest.pop("file", None)
        return cls(
            spec=spec,
            pretrained=_truth(spec, "pretrained", rest.pop("pretrained", True)),
            img_size=_size(spec, rest.pop("img_size", None)),
            num_classes=_whole(spec, "num_classes", rest.pop("num_classes", None)),
            seed=_whole(spec, "seed", rest.pop("seed", None)) or 0,
            mean=_triple(spec, "mean", rest.pop("mean", None)),
            std=_triple(spec, "std", rest.pop("std", None)),
            file=None if file is None else _weights_file(str(file)),
            rest=rest,
        )

    @property
    def weights(self) -> str:
        """Where the weights come from, for the facts of a specimen."""
        if self.file is not None:
            return f"file {self.file.name}"
        return "pretrained" if self.pretrained else f"random, seed {self.seed}"

    @contextmanager
    def building(self) -> Iterator[None]:
        """Inside, fresh weights come from the seed, and a library's complaint becomes a ValueError.

        Libraries are not heard otherwise: what they would log, we check and say once. The global random state
        and the logging level are put back.

        Raises:
            ValueError: If the library refuses the options.
        """
        with torch.random.fork_rng(devices=[]):
            # Not torch.manual_seed: it would seed the accelerators as well, which are not put back.
            torch.default_generator.manual_seed(self.seed)
            level = logging.root.manager.disable
            logging.disable(logging.ERROR)
            try:
                yield
            except (TypeError, AssertionError, RuntimeError, ValueError, KeyError) as error:
                if str(error).startswith(self.spec):  # our own words already
                    raise
                raise ValueError(
                    f"{self.spec} cannot be built: {str(error).strip() or type(error).__name__}; "
                    "change the options after '?'."
                ) from error
            finally:
                logging.disable(level)


def spec_of(prefix: str, name: str, options: Options) -> str:
    """The text that would load this again."""
    written = (
        f"{key}={value if isinstance(value, str) else json.dumps(value)}" for key, value in options.items()
    )
    query = "&".join(written)
    return f"{prefix}:{name}?{query}" if query else f"{prefix}:{name}"


def _truth(spec: str, key: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{key} must be true or false, but got {value!r} in {spec!r}.")
    return value


def _whole(spec: str, key: str, value: Any) -> int | None:
    if value is not None and (type(value) is not int or value < 0):
        raise ValueError(f"{key} must be a whole number >= 0, but got {value!r} in {spec!r}.")
    return value


def _triple(spec: str, key: str, value: Any) -> Triple | None:
    if value is None:
        return None
    if not isinstance(value, list) or len(value) != 3 or not all(type(one) in (int, float) for one in value):
        raise ValueError(
            f"{key} must be three numbers, as {key}=[0.5,0.5,0.5], but got {value!r} in {spec!r}."
        )
    return float(value[0]), float(value[1]), float(value[2])


def _size(spec: str, value: Any) -> Pair | None:
    if value is None:
        return None
    sizes = value if isinstance(value, list) else [value, value]
    if len(sizes) != 2 or not all(type(size) is int and size > 0 for size in sizes):
        raise ValueError(
            f"img_size must be pixels, as img_size=64 or img_size=[64,96] (height, width), "
            f"but got {value!r} in {spec!r}."
        )
    return sizes[0], sizes[1]


def _weights_file(path: str) -> Path:
    file = Path(path)
    if file.suffix != ".safetensors":
        raise ValueError(
            f"file must be a .safetensors file, but got {path!r}; other formats can run programs when opened."
        )
    if not file.is_file():
        raise FileNotFoundError(f"file must be a safetensors file, but there is no {path!r}.")
    return file
