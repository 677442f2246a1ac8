"""Cheaper kinds of attention in plain loops over numbers, written from their papers."""

import math

import torch
from torch import Tensor


def feature_attention(query: Tensor, key: Tensor, value: Tensor, weight, sees) -> Tensor:
    """Means of values weighted by `weight(q, k)`, over the keys with `sees(i, j)`; (token, dim) each."""
    answers = torch.zeros(len(query), value.shape[1], dtype=value.dtype)
    for i in range(len(query)):
        total = 0.0
        for j in range(len(key)):
            if sees(i, j):
                amount = weight(query[i], key[j])
                answers[i] += amount * value[j]
                total += amount
        if total:
            answers[i] /= total
    return answers


def elu_weight(query: Tensor, key: Tensor) -> float:
    """The product of `elu(x) + 1` of both, number by number (`katharopoulos2020transformers`, equation 7)."""
    total = 0.0
    for q, k in zip(query.tolist(), key.tolist(), strict=True):
        total += (q + 1 if q > 0 else math.exp(q)) * (k + 1 if k > 0 else math.exp(k))
    return total


def random_weight(directions: Tensor):
    """The estimate of `exp(q . k / sqrt(d))` from given directions (`choromanski2021rethinking`, lemma 1)."""
    scale = directions.shape[1] ** -0.25

    def feature(direction: list[float], vector: list[float]) -> float:
        product = sum(w * x * scale for w, x in zip(direction, vector, strict=True))
        return math.exp(product - sum((x * scale) ** 2 for x in vector) / 2)

    def weight(query: Tensor, key: Tensor) -> float:
        q, k = query.tolist(), key.tolist()
        return sum(feature(w, q) * feature(w, k) for w in directions.tolist()) / len(directions)

    return weight


def linformer(query: Tensor, key: Tensor, value: Tensor, of_keys: Tensor, of_values: Tensor) -> Tensor:
    """Attention to sums of keys and values along the sequence (`wang2020linformer`, equation 7); (token, dim) each."""
    rank = of_keys.shape[1]
    keys = [sum(of_keys[n, r] * key[n] for n in range(len(key))) for r in range(rank)]
    values = [sum(of_values[n, r] * value[n] for n in range(len(value))) for r in range(rank)]
    answers = []
    for q in query:
        scores = [math.exp(float(q @ k) / math.sqrt(len(q))) for k in keys]
        answers.append(sum(s / sum(scores) * v for s, v in zip(scores, values, strict=True)))
    return torch.stack(answers)


def hashed(shared: Tensor, value: Tensor, buckets: Tensor, size: int, seen_in_round) -> Tensor:
    """Softmax over all keys met in all rounds, a key counting as often as it was met (`kitaev2020reformer`).

    `seen_in_round(buckets of the round, size, round)` says whom each token sees, as a list of lists.
    """
    seen = [seen_in_round(buckets, size, r) for r in range(len(buckets))]
    answers = torch.zeros_like(value)
    for i in range(len(shared)):
        others = [j for r in range(len(buckets)) for j in seen[r][i] if j != i]
        others = others or [i]
        scores = [float(shared[i] @ shared[j] / shared[j].norm()) for j in others]
        weights = [math.exp(score - max(scores)) for score in scores]
        for j, weight in zip(others, weights, strict=True):
            answers[i] += weight / sum(weights) * value[j]
    return answers


def chunks_of(buckets: Tensor, size: int, r: int) -> list[list[int]]:
    order = sorted(range(buckets.shape[1]), key=lambda token: (int(buckets[r, token]), token))
    return [order[start : start + size] for start in range(0, len(order), size)]


def in_chunks(buckets: Tensor, size: int, r: int) -> list[list[int]]:
    """Chunks of the sorted sequence see themselves and the one before; the first sees itself."""
    chunks = chunks_of(buckets, size, r)
    seen: list[list[int]] = [[] for _ in range(buckets.shape[1])]
    for c, chunk in enumerate(chunks):
        for token in chunk:
            seen[token] = chunk + (chunks[c - 1] if c else [])
    return seen


def in_chunks_wrapped(buckets: Tensor, size: int, r: int) -> list[list[int]]:
    """As published: the first chunk of a round sees the last one of the round before, the very first the last."""
    chunks = chunks_of(buckets, size, r)
    before = chunks_of(buckets, size, (r - 1) % len(buckets))[-1]
    seen: list[list[int]] = [[] for _ in range(buckets.shape[1])]
    for c, chunk in enumerate(chunks):
        for token in chunk:
            seen[token] = chunk + (chunks[c - 1] if c else before)
    return seen


def in_own_bucket_before(buckets: Tensor, size: int, r: int) -> list[list[int]]:
    """The earlier tokens of the same bucket, in the own part of `size` tokens and in the part before."""
    seen: list[list[int]] = [[] for _ in range(buckets.shape[1])]
    members: dict[int, list[int]] = {}
    for token in range(buckets.shape[1]):
        earlier = members.setdefault(int(buckets[r, token]), [])
        part = len(earlier) // size
        seen[token] = earlier[max(0, part - 1) * size :]
        earlier.append(token)
    return seen
