"""Run a recipe on made-up examples: train, save, load what was saved and score that on examples never trained on."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from archaeology.core.intervals import Interval, bootstrap_ratio
from archaeology.core.provenance import provenance
from archaeology.core.storage import json_text, read_json, read_tensors, write_json, write_tensors, write_text
from archaeology.data.worlds.ratio import Ratio
from archaeology.models.registry import build
from archaeology.recipes.folder import DONE, RunOptions, forget_state, tracking
from archaeology.recipes.recipe import StreamRecipe, recipes
from archaeology.specimens.run import fill
from archaeology.training.checkpoint import DTYPES
from archaeology.training.config import TrainConfig
from archaeology.training.loop import train
from archaeology.training.runtime import Runtime, full_state

FORMAT, TASK = 1, "stream"
NUM_TEST, NUM_GLANCE = 1_000, 200


@dataclass(frozen=True)
class StreamResult:
    """Where the trained model lies, and how good it is.

    Attributes:
        folder: Holds `model.safetensors`, `config.json`, `README.md`, `metrics.jsonl` and `run.json`.
        scores: On held-out examples, each with its interval over examples.
        steps: Optimizer steps taken.
        seconds: Wall time of the training.
        promise: What the recipe promised, as a sentence.
        is_kept: Whether it was kept.
    """

    folder: Path
    scores: dict[str, Interval]
    steps: int
    seconds: float
    promise: str
    is_kept: bool

    def sentence(self) -> str:
        """What was reached, for people."""
        width = max(map(len, self.scores))
        lines = [f"{self.steps} steps in {self.seconds:.0f} s; on {NUM_TEST:,} examples not trained on:"]
        lines += [
            f"  {name:{width}}  {score.value:.5f}  (95 % interval {score.low:.5f} to {score.high:.5f})"
            for name, score in self.scores.items()
        ]
        return "\n".join([*lines, f"promised {self.promise}: {'kept' if self.is_kept else 'MISSED'}"])

    def numbers(self) -> dict[str, Any]:
        """What was reached, for programs."""
        scores = {name: asdict(score) for name, score in self.scores.items()}
        return {
            "scores": scores,
            "promise": self.promise,
            "promise_kept": self.is_kept,
            "seconds": self.seconds,
        }


def run_stream(
    name: str, recipe: StreamRecipe, config: TrainConfig, out: Path, options: RunOptions, runtime: Runtime
) -> StreamResult:
    """Train `recipe` into the folder `out`; every process must call this, the main one writes.

    Raises:
        ValueError: If data, a teacher or an origin is given: the examples are made up, and so is the model.
    """
    for option in ("data", "teacher", "origin"):
        if (given := getattr(options, option)) is not None:
            raise ValueError(
                f"the examples of {name} are made up, so --{option} must be left out, but got {given!r}."
            )
    torch.manual_seed(config.seed)  # initial weights
    model = build(recipe.architecture, recipe.arguments)
    record = provenance(config.seed, recipe=name, config=config.model_dump())
    facts = {"recipe": name, "command": record["command"], "seed": config.seed}

    def save(**more: Any) -> None:
        state = full_state(model)
        if runtime.is_main:
            save_trained(out, recipe, state, config, {**facts, **more})
        runtime.wait()

    def after_epoch(epoch: int) -> dict[str, float]:
        save(state=f"unfinished, after {epoch + 1} epochs")
        return {key: ratio.value for key, ratio in scores_of(recipe, model, NUM_GLANCE).items()}

    if not (
        out / "config.json"
    ).is_file():  # so that the doctor knows the model even if the first step breaks
        save(state="unfinished, before the first step")
    started = time.process_time()
    with tracking(out, options.track, {**facts, "config": record["config"]}, runtime) as trackers:
        trained = train(
            model,
            partial(shares, recipe, config, runtime),
            recipe.steps,
            config,
            trackers=trackers,
            runtime=runtime,
            folder=out,
            on_epoch=after_epoch,
            objective=recipe.objective,
        )
    cpu_seconds = time.process_time() - started
    taken = {"steps": trained.steps, "examples": trained.images, "seconds": round(trained.seconds)}
    save(**taken)  # first as it will be read back
    saved, _ = load_trained(out)
    scores = {
        key: bootstrap_ratio(ratio.part.double().numpy(), ratio.whole.double().numpy(), seed=config.seed)
        for key, ratio in scores_of(recipe, saved, NUM_TEST).items()
    }
    promise = recipe.promise
    is_kept = promise.holds(scores[promise.score].value)
    result = StreamResult(out, scores, trained.steps, trained.seconds, promise.sentence(), is_kept)
    save(**taken, **{key: asdict(score) for key, score in scores.items()})
    size = sum(parameter.numel() for parameter in saved.parameters())
    effort = {**asdict(trained), "cpu_seconds": cpu_seconds, "parameters": size}
    if runtime.is_main:
        write_json(out / DONE, {**record, "trained": effort, **result.numbers()})
    forget_state(out, runtime)
    return result


def shares(
    recipe: StreamRecipe, config: TrainConfig, runtime: Runtime, epoch: int
) -> Iterator[tuple[Any, Any]]:
    """This process's share of every batch of an epoch."""
    size = runtime.share_of(config.batch_size)
    mine = slice(runtime.rank * size, (runtime.rank + 1) * size)
    stream = recipe.stream(config.seed, config.batch_size, epoch * recipe.steps)
    return ((some(given, mine), some(wanted, mine)) for given, wanted in islice(stream, recipe.steps))


def some(things: Any, rows: slice) -> Any:
    """These rows of a tensor, or of each of a tuple of tensors."""
    return things[rows] if isinstance(things, Tensor) else tuple(some(one, rows) for one in things)


@torch.no_grad()
def scores_of(recipe: StreamRecipe, model: nn.Module, count: int) -> dict[str, Ratio]:
    """The recipe's scores of a model on `count` held-out examples, leaving its mode as it was."""
    was_training = model.training
    try:
        return dict(recipe.score(model.eval(), count))
    finally:
        model.train(was_training)


def save_trained(
    folder: Path,
    recipe: StreamRecipe,
    state: Mapping[str, Tensor],
    config: TrainConfig,
    facts: Mapping[str, Any],
) -> None:
    """Write weights, what rebuilds them and a card for people into `folder`, each atomically."""
    dtype = DTYPES[config.weights]
    tensors = {
        name: tensor.to(dtype) if tensor.is_floating_point() else tensor for name, tensor in state.items()
    }
    described = {
        "format": FORMAT,
        "task": TASK,
        "recipe": facts["recipe"],
        "architecture": recipe.architecture,
        "arguments": dict(recipe.arguments),
        "facts": dict(facts),
    }
    write_tensors(folder / "model.safetensors", tensors, {"format": "pt"})
    write_json(folder / "config.json", described)
    write_text(folder / "README.md", f"# {facts['recipe']}\n\n```json\n{json_text(described)}```\n")


def load_trained(folder: Path) -> tuple[nn.Module, StreamRecipe]:
    """The model of a finished (or interrupted) run on the CPU, ready to answer, and its recipe.

    Raises:
        FileNotFoundError: If the folder holds no such run.
        ValueError: If it is a run of another kind, or its tensors do not fit.
        UnknownNameError: If no recipe or architecture has that name any more.
    """
    if not (folder / "config.json").is_file():
        raise FileNotFoundError(
            f"{folder} must be the folder of a trained recipe, but has no config.json; make one with "
            f"archaeology train RECIPE --out {folder}."
        )
    described = read_json(folder / "config.json")
    if described.get("task") != TASK or described.get("format") != FORMAT:
        raise ValueError(
            f"{folder} must hold a model trained on made-up examples (format {FORMAT}), but holds "
            f"{described.get('recipe', described.get('architecture'))!r}; image classifiers open as run:{folder}."
        )
    recipe = recipes.get(described["recipe"])()
    if not isinstance(recipe, StreamRecipe):
        raise ValueError(f"{described['recipe']} must be a recipe of made-up examples, but is one of images.")
    model = build(described["architecture"], described["arguments"])
    fill(model, read_tensors(folder / "model.safetensors"), folder / "model.safetensors")
    return model.eval(), recipe
