"""Where a training stands, so that one that was killed goes on as if nothing had happened.

Tensors go through `torch.distributed.checkpoint`, every process writing its own part, in safetensors files: nothing
is ever pickled, and a state of two processes opens in one. A small `latest.json` names the state that is whole; it is
written last, and only then is the state before it removed, so a full disk or a kill costs a few minutes, never the run.
Randomness needs no state: every step draws from its own seed.
"""

import shutil
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader, HuggingFaceStorageWriter
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save

from archaeology.core.storage import read_json, write_json
from archaeology.training.ema import Average
from archaeology.training.runtime import Runtime

LATEST = "latest.json"
FLAT = StateDictOptions(flatten_optimizer_state_dict=True)


@dataclass(frozen=True)
class Position:
    """How far a training is: `step` steps on `images` images in `seconds` of wall time, `average` moves of the EMA."""

    step: int = 0
    images: int = 0
    seconds: float = 0.0
    average: int = 0
    loss_scale: float = 0.0


@dataclass(frozen=True)
class Learner:
    """What changes while a model learns."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    average: Average | None
    scaler: torch.amp.GradScaler


def find_position(folder: Path, config: Mapping[str, Any]) -> Position:
    """Where the training of `folder` was stopped; the start if it never began.

    Args:
        folder: That states are saved in.
        config: How to train now.

    Raises:
        ValueError: If it was trained otherwise then; says in what.
    """
    if not (folder / LATEST).is_file():
        return Position()
    latest = read_json(folder / LATEST)
    changed = [key for key, value in config.items() if latest["config"].get(key) != value]
    if changed:
        then = ", ".join(f"{key}={latest['config'].get(key)!r} instead of {config[key]!r}" for key in changed)
        raise ValueError(
            f"{folder.parent} holds an unfinished training, which must go on as it began, but it began with {then}; "
            "give the same options, another --out, or --restart to throw it away."
        )
    return Position(**latest["position"])


def save_state(
    folder: Path, learner: Learner, position: Position, config: Mapping[str, Any], runtime: Runtime
) -> None:
    """Write the state of all processes; every one must call this.

    Raises:
        OSError: If it cannot be written, as when the disk is full; the state before is kept.
    """
    place = folder / f"step-{position.step:09d}"
    if runtime.is_main:
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
    runtime.wait()
    writer = HuggingFaceStorageWriter(str(place), save_distributed=True)
    with _quiet(), _explained(folder):
        save(_tensors(learner), storage_writer=writer, no_dist=runtime.world_size == 1)
    runtime.wait()
    if runtime.is_main:
        with _explained(folder):
            write_json(
                folder / LATEST, {"position": asdict(position), "folder": place.name, "config": dict(config)}
            )
        for old in folder.glob("step-*"):
            if old != place:
                shutil.rmtree(old, ignore_errors=True)


def load_state(folder: Path, learner: Learner, position: Position, runtime: Runtime) -> None:
    """Put the learner back to where `position` says, on however many processes there are now.

    Raises:
        ValueError: If the files are broken or do not fit the model.
    """
    latest = read_json(folder / LATEST)
    place = folder / latest["folder"]
    tensors = _tensors(learner)
    reader = HuggingFaceStorageReader(str(place))
    try:
        _check_whole(place)
        tensors = _saved_alone(tensors, reader)
        with _quiet():
            load(tensors, storage_reader=reader, no_dist=runtime.world_size == 1)
    except (Exception, CheckpointException) as error:
        raise ValueError(
            f"{place} must hold the whole state of this training, but cannot be read ({error}); --restart begins anew."
        ) from error
    set_model_state_dict(learner.model, _part(tensors, "model"))
    known = get_optimizer_state_dict(learner.model, learner.optimizer, options=FLAT)
    set_optimizer_state_dict(
        learner.model, learner.optimizer, {**known, **_part(tensors, "optimizer")}, options=FLAT
    )
    if learner.average is not None:
        learner.average.steps = position.average
        for name, averaged in learner.average.weights.items():
            averaged.copy_(tensors[f"average/{name}"])
    if position.loss_scale:
        learner.scaler.load_state_dict({**learner.scaler.state_dict(), "scale": position.loss_scale})


def _tensors(learner: Learner) -> dict[str, Tensor]:
    """Every tensor of the learner by an address of its own; what is no tensor follows from the configuration."""
    parts: dict[str, Mapping[str, Any]] = {
        "model": get_model_state_dict(learner.model),
        "optimizer": get_optimizer_state_dict(learner.model, learner.optimizer, options=FLAT),
        "average": learner.average.weights if learner.average is not None else {},
    }
    return {
        f"{part}/{name}": value.contiguous()  # weights of convolutions lie channels last
        for part, values in parts.items()
        for name, value in values.items()
        if isinstance(value, Tensor)
    }


def _saved_alone(tensors: dict[str, Tensor], reader: HuggingFaceStorageReader) -> dict[str, Tensor]:
    """Without the optimizer's numbers of parameters that had none: those that no loss has reached have no gradient.

    PyTorch makes numbers for all parameters of a new optimizer, and would miss those.
    """
    known = {name.rpartition(".")[0] for name in reader.read_metadata().state_dict_metadata}
    return {
        name: value
        for name, value in tensors.items()
        if not name.startswith("optimizer/state.") or name.rpartition(".")[0] in known
    }


def _check_whole(place: Path) -> None:
    """Open every file, which checks its header against its length."""
    for path in place.glob("*.safetensors"):
        with safe_open(path, framework="pt"):
            pass


def _part(tensors: Mapping[str, Tensor], part: str) -> dict[str, Any]:
    return {name[len(part) + 1 :]: value for name, value in tensors.items() if name.startswith(f"{part}/")}


@contextmanager
def _quiet() -> Iterator[None]:
    """PyTorch warns that one process is one process."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=UserWarning, module="torch.distributed.*")
        yield


@contextmanager
def _explained(folder: Path) -> Iterator[None]:
    """Failing to write, whatever it is called on the way, as an `OSError` that says what to do."""
    try:
        yield
    except (Exception, CheckpointException) as error:
        if "No space left" not in str(error) and not isinstance(error, OSError):
            raise
        raise OSError(
            f"the state of the training must be written to {folder}, but {error}; what was saved before is kept: make "
            "room and give the same command again."
        ) from error
