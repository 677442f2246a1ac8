"""Attention by random features, by hashing and by summaries, against the packages for them and against PyTorch's own.

Every mechanism attends with 4 heads of 64 features in float32: 256 random features, buckets of 64 tokens in 4 rounds,
256 summaries. Freed memory is kept (`archaeology.core.allocation`), for both sides. Linformer is compared as a whole
layer and Hugging Face's LSH attention with its two projections, because that is how they come; the others as bare
mechanisms. Causal `performer-pytorch` writes down a matrix for every token, so it is run up to 4,096 of them; rounds
are fewer where they take long. Before anything is timed both sides are held to the same answer: theirs without the
small numbers that `performer-pytorch` adds, and apart from the first chunks of hashing, whose neighbours differ
(`archaeology.attention.reformer`).
"""

import contextlib
import gc
import io
import sys
import warnings
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from archaeology.attention import Linformer, MultiHeadAttention, Performer, Reformer, causal
from archaeology.attention.reformer import attend_within_buckets, buckets_of
from archaeology.core.allocation import tune_allocation
from benchmarks._side_by_side import Comparison, Setting, comparison, report, seconds, setting

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # the packages are old
    from linformer import LinformerSelfAttention
    from performer_pytorch import performer_pytorch as performer_package
    from reformer_pytorch.reformer_pytorch import LSHAttention
    from transformers import ReformerConfig
    from transformers.models.reformer.modeling_reformer import LSHSelfAttention

HEADS, DIM, FEATURES, BUCKET, ROUNDS, RANK = 4, 64, 256, 64, 4, 256
WIDTH = HEADS * DIM
LENGTHS = (512, 1024, 2048, 4096, 8192, 16384)
LONGEST_CAUSAL_PACKAGE = 4096
FITTED_FROM = 1024
EXPONENT_LIMIT = 1.15

Attend = Callable[..., Tensor]


def heads(tokens: int, scale: float) -> Tensor:
    return torch.randn(1, HEADS, tokens, DIM) * scale


class Performers:
    """Ours and theirs with the same directions."""

    def __init__(self) -> None:
        self.ours = Performer(head_dim=DIM, num_features=FEATURES)
        with contextlib.redirect_stdout(io.StringIO()):  # it says that it lacks its CUDA code
            self.theirs = performer_package.FastAttention(DIM, FEATURES)
            self.causal_theirs = performer_package.FastAttention(DIM, FEATURES, causal=True)
        for package in (self.theirs, self.causal_theirs):
            package.projection_matrix.copy_(self.ours.directions)

    def causal_ours(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Nobody sees the future."""
        return self.ours(query, key, value, mask=causal())

    def check(self) -> None:
        """The same answers, theirs without the small numbers."""
        query, key, value = (heads(256, 0.5) for _ in range(3))
        features = [
            performer_package.softmax_kernel(
                part, projection_matrix=self.ours.directions, is_query=is_query, eps=0.0
            )
            for part, is_query in ((query, True), (key, False))
        ]
        theirs = performer_package.linear_attention(*features, value)
        torch.testing.assert_close(self.ours(query, key, value), theirs, rtol=1e-3, atol=1e-4)
        large = features[1] * 1e5  # beside which the 1e-6 that it adds is nothing
        theirs = performer_package.causal_linear_attention_noncuda(features[0], large, value)
        torch.testing.assert_close(self.causal_ours(query, key, value), theirs, rtol=1e-3, atol=1e-4)


class OursWithProjections(nn.Module):
    """Hashed attention between the two projections that Hugging Face's layer has."""

    def __init__(self) -> None:
        super().__init__()
        self.query_key, self.value = (nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(2))
        self.mechanism = Reformer(head_dim=DIM, bucket_size=BUCKET, num_rounds=ROUNDS)

    def projected(self, tokens: Tensor) -> list[Tensor]:
        """Queries, which are keys, and values, by head."""
        return [
            part(tokens).unflatten(-1, (HEADS, DIM)).transpose(1, 2) for part in (self.query_key, self.value)
        ]

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens in, tokens out, as theirs."""
        query, value = self.projected(tokens)
        return self.mechanism(query, query, value).transpose(1, 2).flatten(2)


class Reformers:
    """Ours and theirs; each hashes as it does."""

    def __init__(self, tokens: int) -> None:
        self.num_buckets = tokens // BUCKET
        self.mechanism = Reformer(head_dim=DIM, bucket_size=BUCKET, num_rounds=ROUNDS)
        self.package = LSHAttention(bucket_size=BUCKET, n_hashes=ROUNDS)
        self.layer = OursWithProjections()
        config = ReformerConfig(
            hidden_size=WIDTH,
            num_attention_heads=HEADS,
            attention_head_size=DIM,
            lsh_attn_chunk_length=BUCKET,
            num_hashes=ROUNDS,
            num_buckets=self.num_buckets,
            lsh_attention_probs_dropout_prob=0.0,
            is_decoder=False,
        )
        self.hugging_face = LSHSelfAttention(config)
        for name in ("query_key", "value"):
            getattr(self.hugging_face, name).load_state_dict(getattr(self.layer, name).state_dict())

    def ours(self, shared: Tensor, value: Tensor) -> Tensor:
        """The bare mechanism."""
        return self.mechanism(shared, shared, value)

    def theirs(self, shared: Tensor, value: Tensor) -> Tensor:
        """That of `reformer-pytorch`, which knows no heads."""
        return self.package(shared.flatten(0, 1), value.flatten(0, 1))[0].view_as(value)

    def theirs_with_projections(self, tokens: Tensor) -> Tensor:
        """That of Hugging Face."""
        return self.hugging_face(tokens).hidden_states

    def check(self, length: int) -> None:
        """Given the same buckets, and apart from tokens of a first chunk."""
        tokens = torch.randn(1, length, WIDTH)
        shared, value = self.layer.projected(tokens)
        buckets = buckets_of(shared, self.mechanism.rotations, self.num_buckets)
        ours = attend_within_buckets(shared, shared, value, buckets, size=BUCKET)
        counted = buckets + torch.arange(ROUNDS)[:, None] * self.num_buckets
        hugging_face = self.hugging_face(tokens, buckets=counted.flatten(2)).hidden_states
        hash_vectors = self.package.hash_vectors
        self.package.hash_vectors = lambda *_, **__: counted.flatten(2).flatten(0, 1)
        package = self.theirs(shared * DIM**0.5, value)  # it divides by this once more
        self.package.hash_vectors = hash_vectors
        places = (buckets * length + torch.arange(length)).argsort(dim=-1).argsort(dim=-1)
        same = (places >= BUCKET).all(dim=2)
        torch.testing.assert_close(ours[same], package[same], rtol=1e-3, atol=1e-4)
        by_head = hugging_face.unflatten(-1, (HEADS, DIM)).transpose(1, 2)
        torch.testing.assert_close(ours[same], by_head[same], rtol=1e-3, atol=1e-3)


class Linformers:
    """Ours and theirs with the same weights, as layers."""

    def __init__(self, tokens: int) -> None:
        self.theirs = LinformerSelfAttention(WIDTH, seq_len=tokens, k=RANK, heads=HEADS)
        self.ours = MultiHeadAttention(
            WIDTH, HEADS, mechanism="linformer", options={"rank": RANK}, num_tokens=tokens
        )
        mechanism = self.ours.mechanism
        assert isinstance(mechanism, Linformer)
        with torch.no_grad():
            parts = [self.theirs.to_q.weight, self.theirs.to_k.weight, self.theirs.to_v.weight]
            self.ours.qkv.weight.copy_(torch.cat(parts))
            self.ours.qkv.bias.zero_()
            self.ours.proj.load_state_dict(self.theirs.to_out.state_dict())
            mechanism.of_keys.copy_(self.theirs.proj_k)
            mechanism.of_values.copy_(self.theirs.proj_v)

    def check(self, length: int) -> None:
        """The same answers."""
        tokens = torch.randn(1, length, WIDTH)
        torch.testing.assert_close(self.ours(tokens), self.theirs(tokens), rtol=1e-3, atol=1e-4)


def forward(attend: Attend, *inputs: Tensor) -> None:
    with torch.no_grad():
        attend(*inputs)


def both_ways(attend: Attend, *inputs: Tensor) -> None:
    leaves = [part.detach().requires_grad_() for part in inputs]
    attend(*leaves).sum().backward()


def sides(length: int, performers: Performers) -> dict[str, tuple[Attend, list[Tensor]]]:
    """Everything that is timed at one length, by name, and what it is given."""
    mild, plain = ([heads(length, scale) for _ in range(3)] for scale in (0.5, 1.0))
    tokens = torch.randn(1, length, WIDTH)
    reformers, linformers = Reformers(length), Linformers(length)
    reformers.check(length)
    linformers.check(length)
    found: dict[str, tuple[Attend, list[Tensor]]] = {
        "performer": (performers.ours, mild),
        "performer-pytorch": (performers.theirs, mild),
        "causal performer": (performers.causal_ours, mild),
        "reformer": (reformers.ours, plain[:2]),
        "reformer-pytorch": (reformers.theirs, plain[:2]),
        "reformer with projections": (reformers.layer, [tokens]),
        "transformers": (reformers.theirs_with_projections, [tokens]),
        "linformer layer": (linformers.ours, [tokens]),
        "linformer": (linformers.theirs, [tokens]),
        "dense": (F.scaled_dot_product_attention, mild),
        "causal dense": (partial(F.scaled_dot_product_attention, is_causal=True), mild),
    }
    if length <= LONGEST_CAUSAL_PACKAGE:
        found["causal performer-pytorch"] = (performers.causal_theirs, mild)
    return found


# Ours, theirs, whose, and the least ratio forward and forward + backward; None only informs.
PAIRS: tuple[tuple[str, str, str, float | None, float | None], ...] = (
    ("causal performer", "causal performer-pytorch", "performer-pytorch", 1.0, 8.0),
    ("performer", "performer-pytorch", "performer-pytorch", 1.0, 1.0),
    ("reformer", "reformer-pytorch", "reformer-pytorch", 1.0, 1.15),
    ("reformer with projections", "transformers", "transformers", 1.0, 1.15),
    ("linformer layer", "linformer", "linformer", 1.0, 1.0),
    ("causal performer", "causal dense", "torch", None, None),
    ("performer", "dense", "torch", None, None),
    ("reformer", "dense", "torch", None, None),
    ("linformer layer", "dense", "torch", None, None),
)
WAYS = {"forward": forward, "forward + backward": both_ways}


def comparisons(given: Setting) -> list[Comparison]:
    """All pairs at all lengths, and how the time of ours grows."""
    tune_allocation()
    gc.freeze()  # so that what the packages made is not searched before every call
    performers = Performers()
    performers.check()
    lines, trained = [], {}
    for length in LENGTHS[:1] if given.small else LENGTHS:
        found = sides(length, performers)
        for i, (way, run) in enumerate(WAYS.items()):
            calls = [partial(run, attend, *inputs) for attend, inputs in found.values()]
            rounds = 15 if length <= 1024 else 7 if length <= 4096 else 5
            taken = dict(zip(found, seconds(given, *calls, rounds=rounds), strict=True))
            for ours, theirs, peer, *targets in PAIRS:
                if theirs in taken:
                    case = f"{ours} against {theirs}, {way}, {length:,} tokens"
                    lines.append(
                        comparison(
                            case,
                            peer,
                            ours=taken[ours] * 1e3,
                            theirs=taken[theirs] * 1e3,
                            unit="ms",
                            target=targets[i],
                        )
                    )
        trained[length] = taken
    return lines if given.small else lines + exponents(trained)


def exponents(taken: dict[int, dict[str, float]]) -> list[Comparison]:
    """How time grows with length, from 1,024 tokens on, against the limit that is promised for FAVOR+."""
    lengths = [length for length in taken if length >= FITTED_FROM]
    logarithms = torch.tensor(lengths, dtype=torch.float64).log()
    lines = []
    for name, target in (
        ("performer", 1.0),
        ("causal performer", 1.0),
        ("reformer", None),
        ("linformer layer", None),
        ("dense", None),
    ):
        times = torch.tensor([taken[length][name] for length in lengths], dtype=torch.float64).log()
        centred = logarithms - logarithms.mean()
        slope = float((centred * times).sum() / centred.square().sum())
        case = f"{name}, exponent of time in length, against the limit"
        lines.append(
            comparison(case, "torch", ours=slope, theirs=EXPONENT_LIMIT, unit="exponent", target=target)
        )
    return lines


def main() -> None:
    given = setting(__doc__)
    report("attention_linear", given, comparisons(given))


if __name__ == "__main__":
    sys.exit(main())
