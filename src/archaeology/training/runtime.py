"""One process or many: who we are among them, and one `wrap` that makes their gradients or their weights shared.

`torchrun` says by environment variables how many processes there are. Each works on its share of every batch; after
the backward pass all hold the mean gradient (`li2020distributed`), or each holds its share of all weights
(`zhao2023fsdp`). Without `torchrun` all of this is one process and nothing is wrapped.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous
from torch.distributed.tensor import DTensor

from archaeology.core.device import choose_device
from archaeology.training.layers import block_of


@dataclass(frozen=True)
class Runtime:
    """This process among those that train together.

    Attributes:
        device: Where it computes.
        rank: Its number, from 0.
        world_size: How many there are.
    """

    device: torch.device
    rank: int = 0
    world_size: int = 1

    @property
    def is_main(self) -> bool:
        """Whether it is the one that writes files and speaks to people."""
        return self.rank == 0

    def mean(self, number: Tensor) -> Tensor:
        """The mean of `number` over all processes, on each of them."""
        if self.world_size > 1:
            number = number.detach().clone()
            dist.all_reduce(number, op=dist.ReduceOp.SUM)
            number /= self.world_size
        return number

    def wait(self) -> None:
        """Go on when all have come here."""
        if self.world_size > 1:
            dist.barrier()

    def share_of(self, batch_size: int) -> int:
        """How many images of a batch each process works on.

        Raises:
            ValueError: If the processes cannot share them evenly.
        """
        if batch_size % self.world_size:
            raise ValueError(
                f"batch_size must be a multiple of the {self.world_size} processes, but got {batch_size=}."
            )
        return batch_size // self.world_size


@contextmanager
def open_runtime(device: str = "auto") -> Iterator[Runtime]:
    """Join the other processes of `torchrun`, if there are any, and leave them when the block ends."""
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    if world_size == 1:
        yield Runtime(choose_device(device))
        return
    chosen = choose_device(device)
    if chosen.type == "cuda":
        chosen = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(chosen)
    _join("nccl" if chosen.type == "cuda" else "gloo")
    try:
        yield Runtime(chosen, dist.get_rank(), world_size)
    finally:
        dist.destroy_process_group()


def _join(backend: str) -> None:
    """Meet the other processes of the same attempt.

    When torchrun starts killed processes again, its store still holds where those of the attempt before were to be
    found, and who reads that waits for them for ever. So every attempt has keys of its own.
    """
    store, rank, world_size = next(rendezvous("env://"))
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    dist.init_process_group(
        backend, store=PrefixStore(f"attempt {attempt}", store), rank=rank, world_size=world_size
    )


@dataclass(frozen=True)
class Wrapped:
    """A model as the loop calls it.

    Attributes:
        forward: What to call with a batch.
        share_gradients: Say before a backward pass whether its gradients are to be shared, which only the last part
            of an accumulated step needs.
    """

    forward: Callable[[Tensor], Any]
    share_gradients: Callable[[bool], None]


def wrap(model: nn.Module, runtime: Runtime, parallel: str) -> Wrapped:
    """Make `model` one of many that learn as one.

    Args:
        model: On the runtime's device; changed in place by "fsdp".
        runtime: This process.
        parallel: "ddp" (all weights in every process) or "fsdp" (FSDP2: every block's weights split among them).
    """
    if runtime.world_size == 1:
        return Wrapped(model, lambda _: None)
    if parallel == "fsdp":
        return _sharded(model)
    from torch.nn.parallel import DistributedDataParallel

    ids = [runtime.device] if runtime.device.type == "cuda" else None
    copies = DistributedDataParallel(model, device_ids=ids)
    return Wrapped(copies, lambda is_shared: setattr(copies, "require_backward_grad_sync", is_shared))


def _sharded(model: nn.Module) -> Wrapped:
    from torch.distributed.fsdp import FSDPModule, fully_shard

    empty = {parameter for parameter in model.parameters() if parameter.numel() == 0}  # cannot be split
    for path in dict.fromkeys(block_of(name) for name, _ in model.named_parameters()):
        if path is not None:
            fully_shard(model.get_submodule(path), ignored_params=empty)
    fully_shard(model, ignored_params=empty)
    assert isinstance(model, FSDPModule)
    return Wrapped(model, model.set_requires_gradient_sync)


def full_state(model: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers of `model` as whole tensors on the CPU; every process must ask, all get them."""
    from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

    if any(isinstance(parameter, DTensor) for parameter in model.parameters()):
        options = StateDictOptions(full_state_dict=True, cpu_offload=True)
        state = get_model_state_dict(model, options=options)
        return {name: value for name, value in state.items() if isinstance(value, Tensor)}
    return dict(model.state_dict())
