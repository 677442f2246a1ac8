"""MLflow without a server: a store of files in the run's folder, which `mlflow ui` shows."""

import os
from collections.abc import Mapping
from typing import Any

from archaeology.training.trackers.tracker import Tracked, package_for, trackers


@trackers.register("mlflow")
class MLflow:
    """One run of an experiment called like the recipe, in the folder `mlflow` of the run; resuming goes on with it."""

    def __init__(self, run: Tracked) -> None:
        """Raises: `MissingExtraError` where mlflow is not installed."""
        # Read on import. MLflow reports its use over the network unless told not to, and asks newcomers to keep
        # runs in a database; files are what can be copied along with a run.
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
        tracking = package_for("mlflow", "mlflow", "mlflow.tracking")
        uri = (run.folder / "mlflow").absolute().as_uri()
        self._client = tracking.MlflowClient(tracking_uri=uri, registry_uri=uri)
        self._id = self._run_id(run)

    def _run_id(self, run: Tracked) -> str:
        client = self._client
        experiment = client.get_experiment_by_name(run.project)
        number = experiment.experiment_id if experiment else client.create_experiment(run.project)
        if run.resume_step is not None:
            before = client.search_runs([number], max_results=1, order_by=["attributes.start_time DESC"])
            if before:
                client.update_run(before[0].info.run_id, status="RUNNING")
                return before[0].info.run_id
        started = client.create_run(number, run_name=run.folder.name).info.run_id
        settings: dict[str, Any] = run.settings()
        for name, value in settings.items():
            client.log_param(started, name, value)
        return started

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        """Write every number as a metric."""
        for name, number in numbers.items():
            self._client.log_metric(self._id, name, float(number), step=step)

    def close(self) -> None:
        """Mark the run as finished."""
        self._client.set_terminated(self._id)
