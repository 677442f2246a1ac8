"""What a foreign model says about itself: does it attend, which tokens come first, where to look.

Only names of fields and classes are read, never a forward pass: hooks live in `capture/`.
"""

import re
from typing import Literal

from torch import nn

#: Last part of a parameter's name -> what the token is. Order as the libraries concatenate them.
TOKENS = {
    "class": ("cls_token", "class_token", "class_embedding"),
    "distillation": ("dist_token", "distillation_token"),
    "register": ("reg_token", "register_tokens", "storage_tokens"),
}
# Attention over channels, splits or one pooled token of a CNN is no attention between tokens.
NOT_ATTENTION = re.compile(r"SplitAttn|SelectiveKernelAttn|ChannelAttn|SpatialAttn|AttentionPool|AttnPool")
ATTENTION = re.compile(r"attention|attn|XCA|GPSA", re.IGNORECASE)


def attends(model: nn.Module) -> bool:
    """Whether any module inside is an attention between tokens, going by the names of the classes."""
    return any(is_attention(module) for module in model.modules())


def is_attention(module: nn.Module) -> bool:
    """Whether a module's class is called an attention between tokens."""
    name = type(module).__name__
    return ATTENTION.search(name) is not None and NOT_ATTENTION.search(name) is None


def convolves(model: nn.Module) -> bool:
    """Whether there is more than the one convolution that cuts patches."""
    return sum(isinstance(m, nn.Conv2d) and max(m.kernel_size) > 1 for m in model.modules()) > 1


def prefix_of(model: nn.Module) -> tuple[str, ...]:
    """Names of the tokens before the patches, in the order class, distillation, registers."""
    found: dict[str, int] = {}
    for name, parameter in model.named_parameters():
        for token, fields in TOKENS.items():
            if name.rpartition(".")[2] in fields and parameter.numel():
                found[token] = parameter.shape[-2] if parameter.ndim > 1 else 1
    if found.get("class", 0) > 1:  # PiT keeps its distillation token beside the class token, in one parameter
        found["distillation"] = found["class"] - 1
        found["class"] = 1
    return tuple(token for token in TOKENS for _ in range(found.get(token, 0)))


def last_block(model: nn.Module) -> str | None:
    """Path of the last transformer block: the last item of the innermost list whose items all attend."""
    lists = [
        (name, module)
        for name, module in model.named_modules()
        if isinstance(module, nn.ModuleList | nn.Sequential) and len(module) and all(map(attends, module))
    ]
    if not lists:
        return None
    name, blocks = lists[-1]
    return f"{name}.{next(reversed(dict(blocks.named_children())))}".lstrip(".")


def first_norm(model: nn.Module, block: str) -> str:
    """Path of the block's first norm, where Grad-CAM looks in a transformer; the block itself if it has none.

    The usual choice (`blocks[-1].norm1`): the input of the last attention is the last place where patches
    still speak to the class token. At the block's output, the gradient of a class-token readout is zero at
    every patch.
    """
    norms = [
        name
        for name, child in model.get_submodule(block).named_children()
        if "norm" in type(child).__name__.lower()
    ]
    outer = [name for name in norms if name == "norm_out"]  # TNT: the norms before attend inside each patch
    return f"{block}.{(outer or norms)[0]}" if norms else block


def transformer_target(model: nn.Module) -> str | None:
    """Path of the first norm of the last transformer block, or None where no list of blocks is found."""
    block = last_block(model)
    return None if block is None else first_norm(model, block)


def kind_of(model: nn.Module) -> Literal["transformer", "convolutional", "other"]:
    """Whether it attends, else whether it convolves, else neither (an MLP-Mixer)."""
    if attends(model):
        return "transformer"
    return "convolutional" if convolves(model) else "other"
