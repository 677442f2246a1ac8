"""Read a training, look at its attention where there are images, and name what went wrong."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from archaeology.data.cache import decode_once
from archaeology.data.chosen import choose_evenly
from archaeology.diagnose.diagnosis import Case, Diagnosis, checks
from archaeology.diagnose.history import RunHistory, State, read_history
from archaeology.diagnose.look import AttentionLayer, look_at
from archaeology.diagnose.places import opened, place_of
from archaeology.recipes.recipe import StreamRecipe
from archaeology.recipes.stream import load_trained
from archaeology.specimens.run import load_run

NUM_IMAGES = 64
NUM_EXAMPLES = 16
STATES: Mapping[State, str] = {
    "finished": "it finished",
    "broken": "it broke",
    "running": "it is still running, so all this is as of now",
    "interrupted": "it was interrupted, so all this is as of its last line",
}


@dataclass(frozen=True)
class Report:
    """What the doctor says of a training.

    Attributes:
        folder: Of the training.
        state: How it ended, if it did.
        steps: Optimizer steps taken.
        diagnoses: What went wrong, causes before what follows from them; empty for a good one.
        attention: What its layers do; empty where nobody looked.
        note: Why nobody looked, or at what.
    """

    folder: Path
    state: State
    steps: int
    diagnoses: tuple[Diagnosis, ...]
    attention: tuple[AttentionLayer, ...]
    note: str

    @property
    def is_healthy(self) -> bool:
        """Whether nothing went wrong."""
        return not self.diagnoses

    def sentence(self) -> str:
        """How far the training came, for people."""
        return f"{self.folder}: {self.steps} steps, {STATES[self.state]}"


def diagnose(folder: Path, *, data: str | None = None) -> Report:
    """Name what went wrong in the training in `folder`.

    Args:
        folder: What `archaeology train` wrote or is writing.
        data: Images to look at attention with, as for `archaeology dig --data`; None for the test images that the
            training names, and none where they are not found.

    Raises:
        FileNotFoundError: If there is no training.
        ValueError: If one of its files is broken, or `data` names nothing.
    """
    run = read_history(folder)
    attention, note = _look(run, data)
    case = Case(run, attention)
    for name in checks:
        found = tuple(checks.get(name)(case))
        case = Case(run, attention, (*case.found, *found))
    return Report(folder, run.state, run.steps, case.found, attention, note)


def _look(run: RunHistory, data: str | None) -> tuple[tuple[AttentionLayer, ...], str]:
    """The layers and a note; no layers, and why, where there is no model or no image."""
    if not (run.folder / "model.safetensors").is_file() or not run.card:
        return (), "attention was not looked at: no epoch ended, so there is no model yet"
    if run.card.get("task") == "stream":
        return _look_at_examples(run)
    specimen = load_run(run.folder)
    if specimen.kind != "transformer":
        return (), "the model does not attend, so attention was not looked at"
    described = run.facts.get("data")
    spec, split = place_of(described.get("test") if isinstance(described, Mapping) else None)
    spec = data or spec
    if spec is None:
        return (), "attention was not looked at: the training names no test images; name some with --data"
    try:
        source = opened(spec, split, is_sure=data is None)
        chosen = choose_evenly(source, NUM_IMAGES, seed=0)
        images = decode_once(chosen, specimen.image_size)
        batch = next(iter(images.batches(len(images))))[0]
        layers = look_at(specimen.model, lambda: specimen.predict(batch))
    except (ValueError, OSError, ImportError) as error:
        if data:
            raise
        return (), f"attention was not looked at ({error}); name images with --data"
    return layers, f"attention was looked at on {len(batch)} images of {spec}"


def _look_at_examples(run: RunHistory) -> tuple[tuple[AttentionLayer, ...], str]:
    model, recipe = load_trained(run.folder)
    assert isinstance(recipe, StreamRecipe)
    layers = look_at(model, lambda: recipe.score(model, NUM_EXAMPLES))
    if not layers:
        return (), "the model does not attend, so attention was not looked at"
    return layers, f"attention was looked at on {NUM_EXAMPLES} made-up examples"
