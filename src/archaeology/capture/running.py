"""Which module is running right now: a stack kept by hooks that are there only while we look."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

HEAD_COUNTS = ("num_heads", "num_attention_heads", "n_heads", "nhead", "heads")


@dataclass(frozen=True)
class Frame:
    """A module on the stack: its dotted path, itself, and the shape of the first tensor it was given."""

    path: str
    module: nn.Module
    input_shape: tuple[int, ...]

    @property
    def num_heads(self) -> int | None:
        """How many heads the module says it has, if it does."""
        counts = (getattr(self.module, name, None) for name in HEAD_COUNTS)
        return next((count for count in counts if isinstance(count, int) and count > 0), None)


@dataclass
class Running:
    """The modules of one model that are running, outermost first, in the thread that made this object."""

    frames: list[Frame] = field(default_factory=list)
    num_passes: int = 0
    thread: int = field(default_factory=threading.get_ident)

    def enter(self, path: str, module: nn.Module, given: tuple[Any, ...]) -> None:
        """Put a module on the stack."""
        if threading.get_ident() != self.thread:
            return
        self.num_passes += not self.frames
        shape = next((tuple(thing.shape) for thing in given if isinstance(thing, Tensor)), ())
        self.frames.append(Frame(path, module, shape))

    def leave(self, module: nn.Module) -> None:
        """Take a module, and whatever above it did not get to leave, off the stack."""
        if threading.get_ident() != self.thread:
            return
        places = [place for place, frame in enumerate(self.frames) if frame.module is module]
        if places:
            del self.frames[places[-1] :]


@contextmanager
def watching(model: nn.Module) -> Iterator[Running]:
    """Keep account of which module of `model` runs; the hooks are gone after the block, however it ends."""
    running = Running()
    handles: list[Any] = []
    try:
        for path, module in model.named_modules():
            if isinstance(module, torch.jit.ScriptModule):
                continue  # runs outside Python: hooks would not fire
            handles += _hooks(running, path, module)
        yield running
    finally:
        for handle in handles:
            handle.remove()


def _hooks(running: Running, path: str, module: nn.Module) -> list[Any]:
    def enter(module: nn.Module, given: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        running.enter(path, module, (*given, *keywords.values()))

    def leave(module: nn.Module, given: tuple[Any, ...], output: object) -> None:
        running.leave(module)

    return [
        module.register_forward_pre_hook(enter, with_kwargs=True),
        module.register_forward_hook(leave, always_call=True),
    ]
