"""Muon for the matrices inside, AdamW for the rest: matrices step by their orthogonalised momentum.

`jordan2024muon`; the update itself is timm's. Inside means: not the first matrix (pixels), not the last (classes).
Rates may fall from block to block towards the image (layer-wise decay, as in fine-tuning).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import nn

from archaeology.training.config import TrainConfig
from archaeology.training.layers import layer_numbers


@dataclass(frozen=True)
class _Trained:
    """A parameter that learns: what it is, and by how much its rate is lowered."""

    parameter: nn.Parameter
    is_matrix: bool
    is_end: bool
    scale: float


def make_optimizer(model: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """The optimizer of `config`; every group remembers its full rate as `full_lr` for the schedule.

    Raises:
        ValueError: If nothing of the model is left to train.
    """
    trained = _trained(model, config.layer_decay)
    if not trained:
        raise ValueError(
            "a model must have something to train, but every parameter is frozen; use --freeze none."
        )
    if config.optimizer == "adamw":
        groups = [
            *_groups(
                trained, lambda one: one.is_matrix, config.learning_rate, weight_decay=config.weight_decay
            ),
            *_groups(trained, lambda one: not one.is_matrix, config.learning_rate, weight_decay=0.0),
        ]
        optimizer = torch.optim.AdamW(groups, lr=config.learning_rate, betas=(0.9, 0.95))
    elif config.optimizer == "adam":
        optimizer = torch.optim.Adam(list(_groups(trained, lambda _: True, config.learning_rate)))
    else:
        optimizer = _muon(trained, config)
    for group in optimizer.param_groups:
        group["full_lr"] = group["lr"]
    return optimizer


def _trained(model: nn.Module, layer_decay: float) -> list[_Trained]:
    named = [
        (name, parameter)
        for name, parameter in model.named_parameters()
        if parameter.requires_grad and parameter.numel()
    ]
    matrices = [name for name, parameter in named if parameter.ndim >= 2 and min(parameter.shape[:2]) > 1]
    ends = {*matrices[:1], *matrices[-1:]} if len(matrices) > 2 else set()
    depths = layer_numbers(name for name, _ in model.named_parameters())
    deepest = max(depths.values(), default=0)
    return [
        _Trained(parameter, name in matrices, name in ends, layer_decay ** (deepest - depths[name]))
        for name, parameter in named
    ]


def _groups(
    trained: list[_Trained], belongs: Callable[[_Trained], bool], rate: float, **options: float | bool
) -> Iterator[dict[str, object]]:
    """What belongs, one group for each factor on the rate."""
    chosen = [one for one in trained if belongs(one)]
    for scale in sorted({one.scale for one in chosen}):
        parameters = [one.parameter for one in chosen if one.scale == scale]
        yield {"params": parameters, "lr": rate * scale, **options}


def _muon(trained: list[_Trained], config: TrainConfig) -> torch.optim.Optimizer:
    from timm.optim.muon import Muon  # heavy: importing timm takes seconds

    rate, other, decay = config.learning_rate, config.other_learning_rate, config.weight_decay
    groups = [
        *_groups(trained, lambda one: one.is_matrix and not one.is_end, rate, weight_decay=decay),
        *_groups(trained, lambda one: one.is_end, other, weight_decay=decay, use_fallback=True),
        *_groups(trained, lambda one: not one.is_matrix, other, weight_decay=0.0, use_fallback=True),
    ]
    return Muon(
        groups,
        lr=rate,
        momentum=config.momentum,
        nesterov=True,
        ns_coefficients="original",
        adjust_lr_fn="original",
    )
