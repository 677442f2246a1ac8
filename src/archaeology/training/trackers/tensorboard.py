"""Scalars for TensorBoard, which only reads files: `tensorboard --logdir RUN`."""

from collections.abc import Mapping

from archaeology.core.storage import json_text
from archaeology.training.trackers.tracker import Tracked, package_for, trackers


@trackers.register("tensorboard")
class TensorBoard:
    """Event files in the folder `tensorboard` of the run."""

    def __init__(self, run: Tracked) -> None:
        """Raises: `MissingExtraError` where tensorboard is not installed."""
        package_for("tensorboard", "tensorboard")
        from torch.utils.tensorboard import SummaryWriter

        # What a killed training wrote behind the step it goes on from is not shown any more.
        purged = None if run.resume_step is None else run.resume_step + 1
        self._writer = SummaryWriter(str(run.folder / "tensorboard"), purge_step=purged)
        self._writer.add_text("facts", f"```json\n{json_text(run.facts)}```")

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        """Write every number as a scalar."""
        for name, number in numbers.items():
            self._writer.add_scalar(name, number, step)

    def close(self) -> None:
        """Flush and close."""
        self._writer.close()
