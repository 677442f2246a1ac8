"""How much memory a step takes, from what its forward pass keeps for the backward pass.

Measured on one and on two images, so what grows with the batch and what does not fall apart; nothing is trained.
"""

import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from archaeology.training.step import floats

COPIES = {"muon": 3, "adamw": 4, "adam": 4}  # weights, gradients, and what the optimizer remembers
SPARE = 0.8  # share of the free memory that is counted on; the rest goes to what passes by


@dataclass(frozen=True)
class StepMemory:
    """Bytes of a step: `fixed_bytes` whatever the batch, `bytes_per_image` more for every image."""

    fixed_bytes: int
    bytes_per_image: int

    def batch_size_that_fits(self, available: int) -> int:
        """The largest power of two of images that fits into so many bytes; 0 if not even one does."""
        images = int((SPARE * available - self.fixed_bytes) // max(self.bytes_per_image, 1))
        return 1 << (images.bit_length() - 1) if images > 0 else 0


def step_memory(model: nn.Module, images: Tensor, dtype: torch.dtype, optimizer: str) -> StepMemory:
    """What a step of `model` takes.

    Args:
        model: On any device; its gradients are left as they are.
        images: At least two, ready for the model; only the first two are used.
        dtype: Of the matrix products.
        optimizer: A name of `TrainConfig.optimizer`.
    """
    one, two = (_kept(model, images[:count].clone(), dtype) for count in (1, 2))
    weights = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
    per_image = max(two - one, 1)
    return StepMemory(COPIES[optimizer] * weights + max(one - per_image, 0), per_image)


def _kept(model: nn.Module, images: Tensor, dtype: torch.dtype) -> int:
    """Bytes that the forward pass keeps for the backward pass, each storage once, weights left out."""
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        held.append(tensor)  # so that no storage is freed and its address taken by another
        return tensor

    held: list[Tensor] = []
    with (
        torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor),
        torch.autocast(images.device.type, dtype, enabled=dtype != torch.float32),
    ):
        floats(model(images))
    return sum(kept.values())


def available_bytes(device: torch.device) -> int:
    """Memory that a process may still take there: free, and within its limits."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved(device)
    free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")
    meminfo = Path("/proc/meminfo")
    if meminfo.is_file():
        lines = dict(line.split(":", 1) for line in meminfo.read_text().splitlines() if ":" in line)
        free = int(lines["MemAvailable"].split()[0]) * 1024
    try:
        import resource
    except ImportError:  # not on Windows
        return free
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    statm = Path("/proc/self/statm")
    if limit == resource.RLIM_INFINITY or not statm.is_file():
        return free
    taken = int(statm.read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    return min(free, max(limit - taken, 0))


def checkpoint_blocks(model: nn.Module, paths: list[str]) -> None:
    """Let blocks forget what they computed and compute it again in the backward pass (`chen2016training`).

    Args:
        model: Changed in place; names and weights stay as they are.
        paths: Of its blocks.

    Raises:
        ValueError: If there are none.
    """
    from torch.utils.checkpoint import checkpoint

    if not paths:
        raise ValueError(
            f"--checkpoint-blocks needs a model made of blocks, but {type(model).__name__} has none that are found; "
            "use --accumulate to save memory."
        )
    for path in paths:
        block = model.get_submodule(path)
        block.forward = partial(checkpoint, block.forward, use_reentrant=False)
