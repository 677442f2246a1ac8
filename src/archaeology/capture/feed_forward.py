"""Which module of a block is its MLP: found by what runs after the attention, never by its name.

It is the one module that starts after the attention and holds two linear layers or more. Where a block keeps them in
separate modules, as some of Hugging Face's do, it is the last linear layer, if it narrows what the one before it
widened; only its output is ever asked for, and that is the MLP's.
"""

from collections.abc import Sequence

from torch import nn

from archaeology.capture.suffix import Unit
from archaeology.core.errors import MlpNotFoundError


def feed_forwards(
    model: nn.Module, units: Sequence[Unit], given: Sequence[str] | None = None
) -> tuple[str, ...]:
    """The path of the MLP of each block.

    Args:
        model: The whole model.
        units: Its blocks, as `units_of` finds them.
        given: Paths to take instead of looking, one for each block.

    Raises:
        ValueError: If the MLP of a block cannot be told apart; names the block and what was met there.
    """
    if given is not None:
        known = dict(model.named_modules())
        missing = [path for path in given if path not in known]
        if missing or len(given) != len(units):
            raise ValueError(
                f"mlps must name one module for each of the {len(units)} blocks, but got {len(given)} paths"
                + (f", of which {missing[0]!r} is no module of the model." if missing else ".")
            )
        return tuple(given)
    if not units:
        raise MlpNotFoundError(
            "MLPs are found inside blocks that each hold one attention, but this model has no such blocks; "
            "ablate its heads or its attention layers only."
        )
    return tuple(_of_unit(model, unit) for unit in units)


def _of_unit(model: nn.Module, unit: Unit) -> str:
    linears = {path: _linears(model, path) for path in unit.after}
    several = [path for path, found in linears.items() if len(found) > 1]
    if len(several) == 1:
        return several[0]
    in_turn = [path for found in linears.values() for path in found]
    if not several and len(in_turn) > 1:
        (wide_in, wide_out), (narrow_in, narrow_out) = (_widths(model, path) for path in in_turn[-2:])
        if wide_out == narrow_in and narrow_out == wide_in < wide_out:
            return in_turn[-1]
    met = ", ".join(several or in_turn) or "none"
    raise MlpNotFoundError(
        f"It cannot be told which module of {unit.path} is its MLP: candidates after its attention are {met}; name "
        "them yourself, mlps=(path, ...), one for each block."
    )


def _linears(model: nn.Module, path: str) -> list[str]:
    return [
        f"{path}.{name}" if name else path
        for name, module in model.get_submodule(path).named_modules()
        if isinstance(module, nn.Linear) or _is_pointwise(module)
    ]


def _is_pointwise(module: nn.Module) -> bool:
    """A convolution of single pixels is a linear layer too."""
    return isinstance(module, nn.Conv2d) and set(module.kernel_size) == {1} and module.groups == 1


def _widths(model: nn.Module, path: str) -> tuple[int, int]:
    module = model.get_submodule(path)
    if isinstance(module, nn.Linear):
        return module.in_features, module.out_features
    assert isinstance(module, nn.Conv2d)
    return module.in_channels, module.out_channels
