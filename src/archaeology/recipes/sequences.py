"""Run a recipe on made-up sequences: train, measure on fresh ones, and keep the pattern that every head ended with."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from archaeology.core.intervals import Interval, bootstrap_mean
from archaeology.core.provenance import provenance
from archaeology.core.seeding import torch_generator
from archaeology.core.storage import write_json, write_tensors
from archaeology.recipes.recipe import SequenceRecipe
from archaeology.training.config import TrainConfig
from archaeology.training.loop import train
from archaeology.training.trackers import open_trackers

NUM_TEST = 1_000


@dataclass(frozen=True)
class SequenceResult:
    """Where the trained model lies, its squared error on fresh sequences, and what its pattern says.

    Attributes:
        folder: Holds `model.safetensors`, `pattern.safetensors`, `metrics.jsonl` and `run.json`.
        error: Mean squared error of a number, with its interval over test sequences.
        readings: Named numbers about the mean pattern.
        steps: Optimizer steps taken.
        seconds: Wall time of the training.
    """

    folder: Path
    error: Interval
    readings: dict[str, float]
    steps: int
    seconds: float

    def sentence(self) -> str:
        """What was reached, for people."""
        reached = self.error
        interval = f"95 % interval {reached.low:.5f} to {reached.high:.5f}, n = {reached.n}"
        lines = [f"mean squared error {reached.value:.5f} after {self.steps} steps ({interval})"]
        return "\n".join([*lines, *(f"{name}: {number:.3f}" for name, number in self.readings.items())])

    def numbers(self) -> dict[str, Any]:
        """What was reached, for programs."""
        return {"mean_squared_error": asdict(self.error), "readings": self.readings, "seconds": self.seconds}


def run_sequences(
    name: str,
    recipe: SequenceRecipe,
    config: TrainConfig,
    out: Path,
    *,
    data: str | None,
    tensorboard: bool,
) -> SequenceResult:
    """Train `recipe` into the folder `out`.

    Raises:
        ValueError: If `data` is given: the sequences are made up.
    """
    if data is not None:
        raise ValueError(
            f"the sequences of {name} are made up, so --data must be left out, but got {data!r}."
        )
    torch.manual_seed(config.seed)  # initial weights
    model = recipe.model()
    record = provenance(config.seed, recipe=name, config=config.model_dump())
    trackers = open_trackers(out, tensorboard=tensorboard)
    generator = torch_generator(config.seed, "training sequences")
    trained = train(
        model,
        lambda _: (recipe.draw(config.batch_size, generator) for _ in range(recipe.steps)),
        recipe.steps,
        config,
        trackers=trackers,
        objective=F.mse_loss,
    )
    for tracker in trackers:
        tracker.close()
    model.cpu().eval()
    with torch.inference_mode():
        sequences, wanted = recipe.draw(NUM_TEST, torch_generator(config.seed, "test sequences"))
        errors = (model(sequences) - wanted).square().mean(dim=(1, 2)).double()
        pattern = model.pattern(sequences).mean(dim=0)  # pyright: ignore[reportCallIssue], the recipe promises it
    result = SequenceResult(
        out,
        bootstrap_mean(errors.numpy(), seed=config.seed),
        dict(recipe.readings(pattern)),
        trained.steps,
        trained.seconds,
    )
    write_tensors(out / "model.safetensors", model.state_dict())
    write_tensors(out / "pattern.safetensors", {"pattern": pattern.contiguous()})
    write_json(out / "run.json", {**record, "trained": asdict(trained), **result.numbers()})
    return result
