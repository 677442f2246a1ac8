"""From names to open trackers."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from archaeology.training.trackers.json_lines import JsonLines
from archaeology.training.trackers.tracker import Tracked, Tracker, trackers


def open_trackers(
    folder: Path,
    names: Sequence[str] = (),
    *,
    facts: Mapping[str, Any] | None = None,
    resume_step: int | None = None,
) -> list[Tracker]:
    """`metrics.jsonl` in `folder`, always, and the trackers called `names` beside it.

    Nothing goes over the network unless the user's own settings of a tracker ask for it.

    Args:
        folder: The checkpoint folder of the run; its name names the run.
        names: Any of `trackers`, each once.
        facts: What is known of the training beforehand: `recipe`, `seed`, `config`, `data`.
        resume_step: The step that the training goes on from; None for one that starts.

    Raises:
        UnknownNameError: If no tracker has one of the names.
        MissingExtraError: If the package of one is not installed; none is left open then.
    """
    run = Tracked(folder, dict(facts or {}), resume_step)
    makers = [trackers.get(name) for name in dict.fromkeys(names)]
    opened: list[Tracker] = []
    try:
        for maker in makers:
            opened.append(maker(run))
        return [JsonLines(folder / "metrics.jsonl", resume_step=resume_step), *opened]
    except BaseException:
        for tracker in opened:
            tracker.close()
        raise
