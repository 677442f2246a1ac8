"""How deep a parameter lies, read from its name: what comes before the blocks, block by block, what comes after.

Lists of blocks go by the names that libraries give them; a list of lists (stages of blocks) counts its inner blocks.
"""

import re
from collections.abc import Iterable, Sequence

from torch import nn

LISTS = r"(?:blocks|layers|layer|stages|groups|resblocks)"
BLOCK = re.compile(rf"^(?:.*?\.)?{LISTS}\.\d+(?:\.{LISTS}\.\d+)?(?=\.)")


def block_of(name: str) -> str | None:
    """The path of the block that a parameter belongs to, "blocks.3" for "blocks.3.mlp.0.weight"; None for none."""
    found = BLOCK.match(name)
    return found[0] if found else None


def layer_numbers(names: Iterable[str]) -> dict[str, int]:
    """How deep each parameter lies: 0 before the blocks, then 1 for the first block, and one more after the last.

    Args:
        names: Of all parameters, in the model's order.
    """
    names = list(names)
    blocks = list(dict.fromkeys(block for name in names if (block := block_of(name)) is not None))
    numbers = {block: number for number, block in enumerate(blocks, start=1)}
    first = next((place for place, name in enumerate(names) if block_of(name)), len(names))
    after = len(blocks) + 1
    return {
        name: numbers[block] if (block := block_of(name)) else (0 if place < first else after)
        for place, name in enumerate(names)
    }


def freeze(model: nn.Module, what: str, heads: Sequence[str]) -> list[str]:
    """Let only a part of the model learn, and say which parameters stay as they are.

    Args:
        model: Changed in place: `requires_grad` of what is frozen is switched off.
        what: "none", "backbone" (all but the heads) or "blocks:N" (what comes before the blocks, and the first N).
        heads: Paths of the modules that give the answer, never frozen.

    Raises:
        ValueError: If the model has fewer than N blocks.
    """
    parameters = dict(model.named_parameters())
    if what == "none":
        return []
    free = [name for name in parameters if any(name.startswith(f"{head}.") for head in heads)]
    if what == "backbone":
        frozen = [name for name in parameters if name not in free]
    else:
        count = int(what.partition(":")[2])
        numbers = layer_numbers(parameters)
        deepest = len({block for name in parameters if (block := block_of(name))})
        if count > deepest:
            raise ValueError(
                f"freeze must name at most the {deepest} blocks that there are, but got {what!r}; "
                f"use blocks:{deepest} or backbone."
            )
        frozen = [name for name in parameters if numbers[name] <= count and name not in free]
    for name in frozen:
        parameters[name].requires_grad_(False)
    return frozen
