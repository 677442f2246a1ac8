"""Muon for the matrices inside, AdamW for the rest: matrices step by their orthogonalised momentum.

`jordan2024muon`; the update itself is timm's. Inside means: not the first matrix (pixels), not the last (classes).
"""

import torch
from torch import nn

from archaeology.training.config import TrainConfig


def make_optimizer(model: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """The optimizer of `config`; every group remembers its full rate as `full_lr` for the schedule."""
    trained = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    matrices = [
        (name, parameter)
        for name, parameter in trained
        if parameter.ndim >= 2 and min(parameter.shape[:2]) > 1
    ]
    ends = {name for name, _ in (matrices[:1] + matrices[-1:])} if len(matrices) > 2 else set()
    inside = {name for name, _ in matrices} - ends
    if config.optimizer == "adamw":
        decayed = [parameter for name, parameter in trained if name in inside | ends]
        rest = [parameter for name, parameter in trained if name not in inside | ends]
        groups = [
            {"params": decayed, "weight_decay": config.weight_decay},
            {"params": rest, "weight_decay": 0.0},
        ]
        optimizer = torch.optim.AdamW(groups, lr=config.learning_rate, betas=(0.9, 0.95))
    elif config.optimizer == "adam":
        optimizer = torch.optim.Adam([parameter for _, parameter in trained], lr=config.learning_rate)
    else:
        optimizer = _muon(trained, inside, ends, config)
    for group in optimizer.param_groups:
        group["full_lr"] = group["lr"]
    return optimizer


def _muon(
    trained: list[tuple[str, nn.Parameter]], inside: set[str], ends: set[str], config: TrainConfig
) -> torch.optim.Optimizer:
    from timm.optim.muon import Muon  # heavy: importing timm takes seconds

    other = {"use_fallback": True, "lr": config.other_learning_rate}
    groups = [
        {"params": [p for name, p in trained if name in inside], "weight_decay": config.weight_decay},
        {"params": [p for name, p in trained if name in ends], "weight_decay": config.weight_decay, **other},
        {"params": [p for name, p in trained if name not in inside | ends], "weight_decay": 0.0, **other},
    ]
    return Muon(
        [group for group in groups if group["params"]],
        lr=config.learning_rate,
        momentum=config.momentum,
        nesterov=True,
        ns_coefficients="original",
        adjust_lr_fn="original",
    )
