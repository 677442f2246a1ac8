"""Decoding and experts: latents against full caches, a cache against none, sorted tokens against what is fastest.

Decoding: one new token after 8,192, through four layers in turn, each with a cache of its own, as in a model, so that
no cache lies in the processor's own memory for being the only one. "Full cache" is multi-head attention of the same
width and heads that keeps the keys and values of every head; "whole layers" include projections, which read more memory
than a small cache does. "Unfolded" is the same latent layer with keys and values of all heads unfolded at every step,
as Hugging Face's DeepSeek-V3 does it, which runs beside. Generation: 256 tokens after a prompt, greedy.
Experts: the whole layer, router, sorting and weighing included, against two grouped products with the gate between
them on tokens that are sorted already: nothing can take less.
"""

import sys
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import DynamicCache, LlamaConfig, LlamaForCausalLM
from transformers.models.deepseek_v3.configuration_deepseek_v3 import DeepseekV3Config
from transformers.models.deepseek_v3.modeling_deepseek_v3 import (
    DeepseekV3Attention,
    DeepseekV3RotaryEmbedding,
)
from transformers.models.mixtral.configuration_mixtral import MixtralConfig
from transformers.models.mixtral.modeling_mixtral import MixtralSparseMoeBlock

from archaeology.attention.cache import KeyValueCache
from archaeology.attention.latent import LatentAttention, LatentCache
from archaeology.attention.masks import causal
from archaeology.attention.multi_head import MultiHeadAttention
from archaeology.attention.rotary import Rotary
from archaeology.attention.softmax import attend
from archaeology.core.allocation import tune_allocation
from archaeology.models.decoder import Decoder
from archaeology.models.experts import MixtureOfExperts
from archaeology.models.gated import gated
from archaeology.models.generate import generate
from benchmarks._side_by_side import Comparison, Setting, comparison, report, seconds, setting

LAYERS, HEADS, HEAD_DIM, ROTARY_DIM, LATENT_DIM = 4, 16, 64, 32, 128
EMBED_DIM = HEADS * HEAD_DIM
SPARE = 512  # room for the tokens that are timed
Step = Callable[[], object]


def main() -> None:
    given = setting(__doc__)
    tune_allocation()
    report("attention_decoding", given, comparisons(given))


def comparisons(given: Setting) -> list[Comparison]:
    return [*decoding(given), *generation(given), *experts(given)]


@torch.no_grad()
def decoding(given: Setting) -> list[Comparison]:
    length = 128 if given.small else 8192
    lines = []
    for dtype in (torch.float32, torch.bfloat16):
        lines += full_caches(given, length, dtype)
    return [
        *lines,
        *unfolding(given, length),
        comparison(
            f"cache of one layer with {length} tokens in float32, latent / full",
            "torch",
            ours=(LATENT_DIM + ROTARY_DIM) * length * 4 / 2**20,
            theirs=2 * EMBED_DIM * length * 4 / 2**20,
            unit="MiB",
            target=None,
        ),
    ]


def full_caches(given: Setting, length: int, dtype: torch.dtype) -> list[Comparison]:
    """Latents against keys and values of every head, in whole layers and in what the cache decides alone."""
    latents = [latent_layer(LatentAttention).to(dtype) for _ in range(LAYERS)]
    kept = [torch.randn(1, length, LATENT_DIM + ROTARY_DIM, dtype=dtype) for _ in latents]
    small_caches = [latent_cache(shared) for shared in kept]
    options = {"mask": causal(), "positions": Rotary(HEAD_DIM)}
    full = [MultiHeadAttention(EMBED_DIM, HEADS, **options).eval().to(dtype) for _ in latents]
    pairs = [tuple(torch.randn(2, 1, HEADS, length, HEAD_DIM, dtype=dtype)) for _ in full]
    large_caches = [full_cache(*pair) for pair in pairs]
    token = torch.randn(1, 1, EMBED_DIM, dtype=dtype)
    query = torch.randn(1, HEADS, 1, HEAD_DIM + ROTARY_DIM, dtype=dtype)
    plain_query = query[..., :HEAD_DIM].contiguous()

    def absorbed() -> None:
        for layer, shared in zip(latents, kept, strict=True):
            layer.absorbed(query, shared, layer.mask, length - 1)

    def attended() -> None:
        for key, value in pairs:
            attend(plain_query, key, value, mask=causal(), query_offset=length - 1)

    def fused() -> None:
        for key, value in pairs:
            F.scaled_dot_product_attention(plain_query, key, value)

    ours, whole = seconds(
        given,
        lambda: in_turn(latents, small_caches, token),
        lambda: in_turn(full, large_caches, token),
        rounds=21,
    )
    alone, same, theirs = seconds(given, absorbed, attended, fused, rounds=21)
    case = f"one token after {length}, {HEADS} heads of {HEAD_DIM}, {str(dtype).removeprefix('torch.')}, "
    return [
        milliseconds(case + "absorbed / full cache in PyTorch's attention", "torch", alone, theirs, 5.0),
        milliseconds(case + "absorbed / full cache in our attention", "torch", alone, same, None),
        milliseconds(case + "whole layers, absorbed / full cache", "torch", ours, whole, None),
    ]


def unfolding(given: Setting, length: int) -> list[Comparison]:
    """Latents asked as they are, against latents unfolded at every step, by ourselves and by Hugging Face."""
    latents = [latent_layer(LatentAttention) for _ in range(LAYERS)]
    slow = [latent_layer(Unfolding) for _ in latents]
    for fast, other in zip(latents, slow, strict=True):
        other.load_state_dict(fast.state_dict())
    kept = [torch.randn(1, length, LATENT_DIM + ROTARY_DIM) for _ in latents]
    small_caches, slow_caches = ([latent_cache(shared) for shared in kept] for _ in range(2))
    theirs, past, turns = deepseek(latents, kept)
    token = torch.randn(1, 1, EMBED_DIM)

    def hugging_face() -> Tensor:
        state = token
        for layer in theirs:
            place = torch.tensor([[past.get_seq_length(layer.layer_idx)]])
            state = layer(state, turns(state, place), None, past_key_values=past)[0]
        return state

    one = hugging_face()
    torch.testing.assert_close(in_turn(latents, small_caches, token), one, atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(in_turn(slow, slow_caches, token), one, atol=1e-4, rtol=1e-3)
    ours, unfolded, face = seconds(
        given,
        lambda: in_turn(latents, small_caches, token),
        lambda: in_turn(slow, slow_caches, token),
        hugging_face,
        rounds=5,
    )
    case = f"one token after {length}, {HEADS} heads of {HEAD_DIM}, float32, whole layers, absorbed / "
    return [
        milliseconds(case + "unfolded", "torch", ours, unfolded, None),
        milliseconds(case + "DeepSeek-V3 attention", "transformers", ours, face, 5.0),
    ]


class Unfolding(LatentAttention):
    """Unfolds the keys and values of all heads for every token, as the definition says."""

    def absorbs(self, num_queries: int) -> bool:
        """Never."""
        return False


def latent_layer(kind: type[LatentAttention]) -> LatentAttention:
    sizes = {"rotary_dim": ROTARY_DIM, "latent_dim": LATENT_DIM}
    return kind(EMBED_DIM, HEADS, **sizes, mask=causal(), positions=Rotary(ROTARY_DIM)).eval()


def latent_cache(shared: Tensor) -> LatentCache:
    cache = LatentCache(capacity=shared.shape[1] + SPARE)
    cache.append(shared)
    return cache


def full_cache(key: Tensor, value: Tensor) -> KeyValueCache:
    cache = KeyValueCache(capacity=key.shape[2] + SPARE)
    cache.append(key, value)
    return cache


def in_turn(layers: list, caches: list, state: Tensor) -> Tensor:
    for layer, cache in zip(layers, caches, strict=True):
        state = layer(state, cache=cache)
    return state


def deepseek(
    ours: list[LatentAttention], kept: list[Tensor]
) -> tuple[list[DeepseekV3Attention], DynamicCache, nn.Module]:
    """Hugging Face's layers with our weights and the latents that were kept."""
    config = DeepseekV3Config(
        hidden_size=EMBED_DIM,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=HEADS,
        q_lora_rank=None,
        kv_lora_rank=LATENT_DIM,
        qk_nope_head_dim=HEAD_DIM,
        qk_rope_head_dim=ROTARY_DIM,
        v_head_dim=HEAD_DIM,
        rope_interleave=False,
        rope_parameters={"rope_type": "default", "rope_theta": 10_000.0},
        attn_implementation="sdpa",
    )
    layers, past = [], DynamicCache(config=config)
    for index, (mine, shared) in enumerate(zip(ours, kept, strict=True)):
        layer = DeepseekV3Attention(config, index).eval()
        layer.q_proj.weight.copy_(mine.query.weight)
        layer.kv_a_proj_with_mqa.weight.copy_(mine.down.weight)
        layer.kv_a_layernorm.weight.copy_(mine.norm.weight)
        layer.kv_b_proj.weight.copy_(mine.up.weight)
        layer.o_proj.weight.copy_(mine.proj.weight)
        latent, key = shared[:, None].split([LATENT_DIM, ROTARY_DIM], dim=-1)
        past.update(latent, key, index)
        layers.append(layer)
    return layers, past, DeepseekV3RotaryEmbedding(config)


@torch.no_grad()
def generation(given: Setting) -> list[Comparison]:
    width, depth, prompt_length, count = (32, 2, 5, 7) if given.small else (256, 6, 256, 256)
    vocabulary, heads = 4096, 4
    model = Decoder(vocabulary, embed_dim=width, depth=depth, num_heads=heads).eval()
    theirs = llama(model, heads)
    prompt = torch.randint(vocabulary, (1, prompt_length))

    def cached() -> Tensor:
        return generate(model, prompt, count)

    def uncached() -> Tensor:
        return generate(model, prompt, count, is_cached=False)

    def hugging_face() -> Tensor:
        return theirs.generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            max_new_tokens=count,
            min_new_tokens=count,
            do_sample=False,
            pad_token_id=0,
        )

    if not torch.equal(cached(), uncached()):
        raise RuntimeError("cached and uncached generation must write the same")
    torch.testing.assert_close(model(prompt), theirs(prompt).logits, atol=1e-4, rtol=1e-3)
    parameters = sum(parameter.numel() for parameter in model.parameters()) / 1e6
    case = f"{count} tokens after {prompt_length}, {depth} layers, width {width}, {parameters:.1f} M parameters, "
    ours, plain = seconds(given, cached, uncached, rounds=3)
    again, face = seconds(given, cached, hugging_face, rounds=3)
    return [
        milliseconds(case + "cached / uncached", "torch", ours, plain, 8.0),
        milliseconds(case + "cached / Llama, cached", "transformers", again, face, 1.0),
    ]


def llama(ours: Decoder, heads: int) -> LlamaForCausalLM:
    """Hugging Face's model with our weights."""
    block = ours.blocks[0]
    width = ours.embed.weight.shape[1]
    config = LlamaConfig(
        vocab_size=ours.num_tokens,
        hidden_size=width,
        num_hidden_layers=len(ours.blocks),
        num_attention_heads=heads,
        num_key_value_heads=heads,
        intermediate_size=block.mlp.down.weight.shape[1],
        attention_bias=True,
        rms_norm_eps=1e-6,
        eos_token_id=None,
    )
    theirs = LlamaForCausalLM(config).eval()
    theirs.model.embed_tokens.weight.copy_(ours.embed.weight)
    theirs.model.norm.weight.copy_(ours.norm.weight)
    theirs.lm_head.weight.copy_(ours.head.weight)
    for mine, layer in zip(ours.blocks, theirs.model.layers, strict=True):
        attn, mlp = layer.self_attn, layer.mlp
        parts = zip((attn.q_proj, attn.k_proj, attn.v_proj), mine.attn.qkv.weight.chunk(3), strict=True)
        for part, weight in parts:
            part.weight.copy_(weight)
            part.bias.zero_()
        attn.o_proj.load_state_dict(mine.attn.proj.state_dict())
        mlp.gate_proj.weight.copy_(mine.mlp.gate_up.weight.chunk(2)[0])
        mlp.up_proj.weight.copy_(mine.mlp.gate_up.weight.chunk(2)[1])
        mlp.down_proj.weight.copy_(mine.mlp.down.weight)
    return theirs


def experts(given: Setting) -> list[Comparison]:
    count, width, hidden = (64, 16, 32) if given.small else (2048, 256, 512)
    lines = []
    for num_experts, num_chosen in ((32, 4), (8, 2)):
        layer = MixtureOfExperts(width, hidden, num_experts=num_experts, num_chosen=num_chosen)
        peers = {name: mixtral(layer, name) for name in ("eager", "grouped_mm")}
        tokens = torch.randn(1, count, width, requires_grad=True)
        direction = torch.randn_like(tokens)
        routing = layer.router(tokens)
        chosen = routing.chosen.flatten()
        visits = tokens[0].detach()[chosen.argsort(stable=True) // num_chosen].requires_grad_()
        ends = chosen.bincount(minlength=num_experts).cumsum(0).int()
        wide = torch.randn_like(visits)

        def plain(visits: Tensor = visits, layer: MixtureOfExperts = layer, ends: Tensor = ends) -> Tensor:
            hidden = gated(F.grouped_mm(visits, layer.experts.gate_up.mT, offs=ends))
            return F.grouped_mm(hidden, layer.experts.down.mT, offs=ends)

        for peer in peers.values():
            torch.testing.assert_close(layer(tokens), peer(tokens), atol=1e-4, rtol=1e-3)
        sides: list[tuple[Callable[[], Tensor], Tensor]] = [
            (lambda layer=layer, x=tokens: layer(x), direction)
        ]
        sides.append((plain, wide))
        sides += [(lambda peer=peer, x=tokens: peer(x), direction) for peer in peers.values()]
        names = ("torch", *["transformers"] * len(peers))
        case = f"{count} tokens of {width}, {num_chosen} of {num_experts} experts of {hidden}, "
        words = ("plain grouped products", *(f"Mixtral {name}" for name in peers))
        for way, steps in (
            ("forward", [forward(run) for run, _ in sides]),
            ("forward + backward", [backward(run, upstream) for run, upstream in sides]),
        ):
            ours, *others = seconds(given, *steps, rounds=9)
            for word, package, taken in zip(words, names, others, strict=True):
                target = 1 / 1.1 if package == "torch" else 1.0
                lines.append(milliseconds(f"{case}{way} / {word}", package, ours, taken, target))
    return lines


def forward(run: Callable[[], Tensor]) -> Step:
    return torch.no_grad()(run)


def backward(run: Callable[[], Tensor], upstream: Tensor) -> Step:
    def step() -> None:
        run().backward(upstream)

    return step


@torch.no_grad()
def mixtral(ours: MixtureOfExperts, implementation: str) -> MixtralSparseMoeBlock:
    """Hugging Face's layer with our weights."""
    num_experts, width, hidden = ours.experts.down.shape
    config = MixtralConfig(
        hidden_size=width,
        intermediate_size=hidden,
        num_local_experts=num_experts,
        num_experts_per_tok=ours.router.num_chosen,
    )
    config._experts_implementation = implementation
    theirs = MixtralSparseMoeBlock(config)
    theirs.gate.weight.copy_(ours.router.weight)
    theirs.experts.gate_up_proj.copy_(ours.experts.gate_up)
    theirs.experts.down_proj.copy_(ours.experts.down)
    return theirs


def milliseconds(case: str, peer: str, ours: float, theirs: float, target: float | None) -> Comparison:
    return comparison(case, peer, ours=1e3 * ours, theirs=1e3 * theirs, unit="ms", target=target)


if __name__ == "__main__":
    sys.exit(main())
