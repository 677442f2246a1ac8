"""Where a training writes its numbers: JSON lines always, other trackers when asked, nothing over the network."""

from archaeology.training.trackers import mlflow as _mlflow  # each registers itself
from archaeology.training.trackers import tensorboard as _tensorboard
from archaeology.training.trackers import trackio as _trackio
from archaeology.training.trackers import wandb as _wandb
from archaeology.training.trackers.json_lines import JsonLines as JsonLines
from archaeology.training.trackers.json_lines import read_lines as read_lines
from archaeology.training.trackers.open import open_trackers as open_trackers
from archaeology.training.trackers.tracker import Tracked as Tracked
from archaeology.training.trackers.tracker import Tracker as Tracker
from archaeology.training.trackers.tracker import trackers as trackers
