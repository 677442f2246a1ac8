"""Every query mixes the values, weighted by how well its key matches: `softmax(Q K^T / sqrt(dim)) V`.

`vaswani2017attention`, equation 1. Differs: the kernel is chosen by device and dtype, the result is the same.
"""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def attend(
    query: Float[Tensor, "batch head query dim"],
    key: Float[Tensor, "batch head key dim"],
    value: Float[Tensor, "batch head key value_dim"],
) -> Float[Tensor, "batch head query value_dim"]:
    """Scaled dot-product attention without a mask.

    In bfloat16 training on a CPU, two matrix products and a softmax are twice as fast as PyTorch's fused kernel,
    whose backward pass is slow there; everywhere else the fused kernel is as fast and needs less memory.
    """
    trains_in_bf16_on_cpu = query.device.type == "cpu" and query.element_size() == 2 and query.requires_grad
    if not trains_in_bf16_on_cpu:
        return F.scaled_dot_product_attention(query, key, value)
    scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-2, -1)
    return scores.softmax(dim=-1).to(value.dtype) @ value
