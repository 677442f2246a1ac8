"""Attention to chosen keys in plain loops, and the choices of the papers written as sets of positions."""

import math

import torch
from torch import Tensor


def attention_to(query: Tensor, key: Tensor, value: Tensor, chosen) -> Tensor:
    """One softmax over the keys in `chosen(b, h, i)`, a set of positions, for every example, head and query."""
    answer = torch.zeros(*query.shape[:3], value.shape[3], dtype=value.dtype)
    for b in range(query.shape[0]):
        for h in range(query.shape[1]):
            for i in range(query.shape[2]):
                keys = sorted(chosen(b, h, i))
                scores = [float(query[b, h, i] @ key[b, h, j]) / math.sqrt(query.shape[3]) for j in keys]
                total = sum(math.exp(score) for score in scores)
                for j, score in zip(keys, scores, strict=True):
                    answer[b, h, i] += math.exp(score) / total * value[b, h, j]
    return answer


def window(i: int, num_tokens: int, radius: int) -> set[int]:
    """Positions at most `radius` away."""
    return set(range(max(0, i - radius), min(num_tokens, i + radius + 1)))


def longformer(i: int, num_tokens: int, radius: int, num_global: int) -> set[int]:
    """`beltagy2020longformer`, section 3.1: a window, and global tokens that see and are seen by all."""
    if i < num_global:
        return set(range(num_tokens))
    return window(i, num_tokens, radius) | set(range(min(num_global, num_tokens)))


def strided(i: int, stride: int) -> set[int]:
    """`child2019generating`, section 4.3: A1 = {t, ..., i} with t = max(0, i - l), A2 = {j : (i - j) mod l = 0}."""
    near = set(range(max(0, i - stride), i + 1))
    return near | {j for j in range(i + 1) if (i - j) % stride == 0}


def fixed(i: int, stride: int, summary: int) -> set[int]:
    """Likewise: A1 = {j : floor(j / l) = floor(i / l)}, A2 = the last c places of every segment."""
    own = {j for j in range(i + 1) if j // stride == i // stride}
    return own | {j for j in range(i + 1) if stride - summary <= j % stride < stride}


def big_bird(i: int, num_tokens: int, block_size: int, listed: list[list[int]]) -> set[int]:
    """`zaheer2020big`: own block and its neighbours, first and last block, and those listed for the block."""
    last, own = (num_tokens - 1) // block_size, i // block_size
    if own in (0, last):
        return set(range(num_tokens))
    blocks = {own - 1, own, own + 1, 0, last} | set(listed[own])
    return {j for j in range(num_tokens) if j // block_size in blocks}
