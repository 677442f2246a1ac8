"""Weights & Biases, offline: the run lies in its folder until `wandb sync` is called on it.

Only who sets `WANDB_MODE=online` sends numbers while training.
"""

import os
from collections.abc import Mapping

from archaeology.training.trackers.tracker import Tracked, package_for, trackers


@trackers.register("wandb")
class WeightsAndBiases:
    """A run in the folder `wandb` of the run; a resumed training is a second one of the same group."""

    def __init__(self, run: Tracked) -> None:
        """Raises: `MissingExtraError` where wandb is not installed."""
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # read on import; reports go over the network
        wandb = package_for("wandb", "wandb")
        run.folder.mkdir(parents=True, exist_ok=True)
        quiet = wandb.Settings(
            console="off",
            silent=True,
            disable_git=True,
            disable_code=True,
            x_disable_stats=True,
            x_disable_machine_info=True,
        )
        self._run = wandb.init(
            project=run.project,
            name=run.folder.name,
            group=run.folder.name,
            dir=str(run.folder),
            mode=os.environ.get("WANDB_MODE", "offline"),
            config=run.settings(),
            reinit="create_new",
            settings=quiet,
        )

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        """Add the numbers to the run's history."""
        self._run.log(dict(numbers), step=step)

    def close(self) -> None:
        """Hand over what is left; wandb's own process writes it within moments."""
        self._run.finish()
