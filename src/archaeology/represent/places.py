"""Which modules are a model's layers: the items of its lists of blocks, and the convolutions before them.

Only classes and names are looked at, never a forward pass. In a transformer the blocks are the items of the innermost
lists whose items all attend, in a convolutional network of those whose items all convolve; where there is no such list
(VGG, DenseNet), the outermost modules that convolve. Any other module can be asked for by its path.
"""

from collections.abc import Callable

from torch import nn

from archaeology.core.registry import unknown_name
from archaeology.specimens.anatomy import attends
from archaeology.specimens.specimen import Specimen

CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


def layer_paths(specimen: Specimen) -> tuple[str, ...]:
    """Module paths of a specimen's layers, in the order in which they are kept in the model.

    Raises:
        ValueError: If no layer can be told; says to name modules.
    """
    stem, blocks = _stem_and_blocks(specimen)
    if not stem and not blocks:
        raise ValueError(
            f"{specimen.name} must have blocks that attend or convolve for its layers to be told, but has none; name "
            "modules with layers=[...]."
        )
    return (*stem, *blocks)


def numbers_of_layers(specimen: Specimen, layers: tuple[str, ...]) -> tuple[int | None, ...]:
    """The number of each layer among the model's blocks, from 1 on; 0 in the stem, None where it is neither."""
    stem, blocks = _stem_and_blocks(specimen)
    stem, blocks = (stem, blocks) if blocks else ([], stem)
    number = {path: 0 for path in stem} | {path: at + 1 for at, path in enumerate(blocks)}
    return tuple(number.get(path) for path in layers)


def _stem_and_blocks(specimen: Specimen) -> tuple[list[str], list[str]]:
    model = specimen.model
    asks = {"transformer": attends, "convolutional": _convolves}.get(specimen.kind, _has_weights)
    blocks = _items_of_lists(model, asks)
    stem = [path for path in _outermost(model, _convolves, blocks) if path not in blocks]
    first = _order(model, blocks[0]) if blocks else 0
    return [path for path in stem if not blocks or _order(model, path) < first], blocks


def checked_layers(specimen: Specimen, layers: tuple[str, ...]) -> tuple[str, ...]:
    """Those layers, each known to be a module of the model.

    Raises:
        UnknownNameError: If there is no such module; the message suggests the nearest.
        ValueError: If there is no layer, or one is named twice.
    """
    known = [path for path, _ in specimen.model.named_modules(remove_duplicate=False) if path]
    for path in layers:
        if path not in known:
            raise unknown_name(f"module of {specimen.name}", path, known)
    if not layers or len(set(layers)) < len(layers):
        raise ValueError(f"layers must name at least one module, and each once, but got {list(layers)}.")
    return layers


def _has_weights(module: nn.Module) -> bool:
    return any(True for _ in module.parameters())


def _convolves(module: nn.Module) -> bool:
    return any(isinstance(inner, nn.Conv1d | nn.Conv2d) for inner in module.modules())


def _items_of_lists(model: nn.Module, asks: Callable[[nn.Module], bool]) -> list[str]:
    """Paths of the items of the innermost lists whose items are all made of modules and all say yes."""
    lists = [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.ModuleList | nn.Sequential)
        and len(module)
        and all(any(True for _ in item.children()) and asks(item) for item in module)
    ]
    inner = [name for name in lists if not any(_is_inside(other, name) for other in lists)]
    return [
        f"{name}.{item}".lstrip(".")
        for name in inner
        for item, _ in model.get_submodule(name).named_children()
    ]


def _outermost(model: nn.Module, asks: Callable[[nn.Module], bool], blocks: list[str]) -> list[str]:
    """Outermost modules that say yes, where plain containers and whatever holds a block are opened."""
    found: list[str] = []

    def open_up(path: str, module: nn.Module) -> None:
        for name, child in module.named_children():
            inner = f"{path}.{name}".lstrip(".")
            if not asks(child) or inner in blocks:
                continue
            if isinstance(child, CONTAINERS) or any(_is_inside(block, inner) for block in blocks):
                open_up(inner, child)
            else:
                found.append(inner)

    open_up("", model)
    return found


def _is_inside(path: str, outer: str) -> bool:
    return path != outer and (not outer or path.startswith(f"{outer}."))


def _order(model: nn.Module, path: str) -> int:
    return [name for name, _ in model.named_modules(remove_duplicate=False)].index(path)
