"""What modules return, read or replaced as the model runs: MLPs, whole blocks, single tokens of the residual stream.

Heads are edited inside their attention (`capture/edit.py`); everything that has a module of its own is edited here.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from jaxtyping import Bool, Shaped
from torch import Tensor, nn


@dataclass(frozen=True, eq=False)
class OutputEdit:
    """Replace what a module returns, for some examples, or for some tokens of each example.

    Attributes:
        module: Dotted path; it must run once in a pass.
        chosen: Which examples, or which tokens of them.
        replacement: What is returned instead, for one or several examples, which repeats where there are more of them
            than it holds; zero if None.
    """

    module: str
    chosen: Bool[Tensor, " batch"] | Bool[Tensor, "batch token"]
    replacement: Shaped[Tensor, "example ..."] | None = None

    def apply(self, output: Shaped[Tensor, "batch ..."]) -> Shaped[Tensor, "batch ..."]:
        """The output with the chosen parts replaced.

        Raises:
            ValueError: If `chosen` or `replacement` do not fit it.
        """
        lead = self.chosen.ndim
        if tuple(output.shape[:lead]) != tuple(self.chosen.shape) or (lead == 2 and output.ndim != 3):
            raise ValueError(
                f"{self.module} must return (example, token, feature) with {tuple(self.chosen.shape)} examples (and "
                f"tokens) to be edited so, but returned {tuple(output.shape)}."
            )
        chosen = self.chosen.to(output.device).reshape(*self.chosen.shape, *[1] * (output.ndim - lead))
        if self.replacement is None:
            return torch.where(chosen, output.new_zeros(()), output)
        rows = self.replacement
        if tuple(rows.shape[1:]) != tuple(output.shape[1:]) or not len(rows) or len(output) % len(rows):
            raise ValueError(
                f"replacement must hold what {self.module} returns for some examples, {tuple(output.shape[1:])} each, "
                f"but got {tuple(rows.shape)}."
            )
        instead = rows.to(output).repeat(len(output) // len(rows), *[1] * (output.ndim - 1))
        return torch.where(chosen, instead, output)


@contextmanager
def outputs_edited(model: nn.Module, edits: Sequence[OutputEdit]) -> Iterator[None]:
    """Inside the block, the modules named by `edits` return what those say. Hooks go away however it ends.

    Raises:
        ValueError: If a module returns no tensor, or an edit does not fit.
    """

    def replace(edit: OutputEdit, module: nn.Module, given: object, output: Any) -> Any:
        tensor = _first(edit.module, output)
        edited = edit.apply(tensor)
        return edited if tensor is output else type(output)((edited, *output[1:]))

    with ExitStack() as stack:
        for edit in edits:
            hook = model.get_submodule(edit.module).register_forward_hook(partial(replace, edit))
            stack.callback(hook.remove)
        yield


@contextmanager
def outputs_kept(model: nn.Module, paths: Sequence[str]) -> Iterator[dict[str, Tensor]]:
    """What each module of `paths` returned in the last pass inside the block.

    Raises:
        ValueError: If a module returns no tensor.
    """
    kept: dict[str, Tensor] = {}

    def keep(path: str, module: nn.Module, given: object, output: object) -> None:
        kept[path] = _first(path, output)

    with ExitStack() as stack:
        for path in dict.fromkeys(paths):
            hook = model.get_submodule(path).register_forward_hook(partial(keep, path))
            stack.callback(hook.remove)
        yield kept


def _first(path: str, output: object) -> Tensor:
    tensor = output[0] if type(output) in (tuple, list) and len(output) else output  # pyright: ignore
    if not isinstance(tensor, Tensor):
        raise ValueError(
            f"{path} must return a tensor (or a tuple that begins with one), but returned "
            f"{type(output).__name__}; name another module."
        )
    return tensor
