"""Destroy what a model has learnt, layer by layer from the head down, on a copy of it.

Source: `adebayo2018sanity`, cascading randomization. Differs: the entries of every weight are shuffled instead of drawn
anew, so that layers of any kind keep the scale that they were trained to and nothing overflows; blocks that are
numbered (`blocks.11`) go as one stage.
"""

import copy
import re
from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import nn

from archaeology.core.seeding import torch_generator
from archaeology.specimens.specimen import Specimen


def stages_of(model: nn.Module) -> tuple[str, ...]:
    """Names of the stages, head first: numbered blocks by path and number, other parameters by their top module.

    The order is that in which the model lists its parameters, turned around.

    Raises:
        ValueError: If the model has no parameters.
    """
    found = list(dict.fromkeys(_stage(name) for name, _ in model.named_parameters()))
    if not found:
        raise ValueError(f"the model must have parameters to randomize, but {type(model).__name__} has none.")
    return tuple(reversed(found))


def cascade(specimen: Specimen, *, seed: int = 0) -> Iterator[tuple[str, Specimen]]:
    """Stage by stage a copy of the specimen that has lost this stage and all before it; the last has lost everything.

    The specimen's own weights are never touched; the copy goes on changing as the stages go on.

    Raises:
        ValueError: If the model has no parameters.
    """
    stages = stages_of(specimen.model)
    model = copy.deepcopy(specimen.model)
    lost = replace(specimen, name=f"{specimen.name}, randomized", model=model)
    for stage in stages:
        for name, parameter in model.named_parameters():
            if _stage(name) == stage:
                generator = torch_generator(seed, "cascade", name)
                shuffled = torch.randperm(parameter.numel(), generator=generator).to(parameter.device)
                with torch.no_grad():
                    parameter.copy_(parameter.flatten()[shuffled].view_as(parameter))
        yield stage, lost


def _stage(parameter: str) -> str:
    """`blocks.11` of `blocks.11.attn.qkv.weight`, `head` of `head.weight`, `prefix` of the model's own `prefix`."""
    numbered = re.match(r"(.*?\.\d+)\.", parameter)
    if numbered:
        return numbered.group(1)
    return parameter.split(".")[0]
