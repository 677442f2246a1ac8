"""What broke a training, written down where `archaeology doctor` looks: the numbers at the time, and the batch."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from archaeology.core.storage import write_json, write_tensors

FAILURE, BATCH = "failure.json", "failed_batch.safetensors"


def record_failure(folder: Path, facts: Mapping[str, Any], images: Any, targets: Any) -> None:
    """Write `failure.json` and the batch into the folder of the run.

    A disk that is full as well must not hide what happened: then only the error is raised, without the files.
    """
    shown = {"images": images} if isinstance(images, Tensor) else numbered("images", images)
    tensors = {**shown, **numbered("targets", [targets] if isinstance(targets, Tensor) else targets)}
    try:
        write_json(folder / FAILURE, facts)
        write_tensors(folder / BATCH, {name: tensor.detach().cpu() for name, tensor in tensors.items()})
    except OSError:
        return


def numbered(name: str, tensors: Iterable[Tensor]) -> dict[str, Tensor]:
    """Tensors by a name and their number."""
    return {f"{name}_{number}": tensor for number, tensor in enumerate(tensors)}
