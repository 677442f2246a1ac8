"""Our language model: nobody sees the future, a cache changes nothing, and copied weights make it Hugging Face's."""

import pytest
import torch

from archaeology.attention.cache import KeyValueCache, SlidingCache
from archaeology.attention.latent import LatentAttention, LatentCache
from archaeology.attention.multi_head import MultiHeadAttention
from archaeology.models import build
from archaeology.models.decoder import Decoder
from archaeology.models.router import load_balancing_loss

SMALL = {"num_tokens": 31, "embed_dim": 24, "depth": 2, "num_heads": 3, "hidden_dim": 17}
KINDS = {
    "plain": {},
    "learnable": {"positions": "learnable", "max_length": 13},
    "no positions": {"positions": "none"},
    "grouped": {"num_key_heads": 1},
    "windowed": {"window": 4},
    "latent": {"attention": "latent", "attention_options": {"latent_dim": 10}},
    "experts": {"experts": {"num_experts": 5, "num_shared": 1}},
    "performer": {"attention_options": {"mechanism": "performer"}},
}


def small(dtype=torch.float64, **changes):
    torch.manual_seed(0)
    model = Decoder(**{**SMALL, **changes}).to(dtype).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model


every_kind = pytest.mark.parametrize("changes", KINDS.values(), ids=KINDS)


@every_kind
def test_the_future_changes_no_past_logits_and_examples_stay_apart(changes):
    model, tokens = small(**changes), torch.randint(31, (3, 13))
    logits = model(tokens)
    assert logits.shape == (3, 13, 31)
    changed = tokens.clone()
    changed[:, 9:] = (changed[:, 9:] + 7) % 31
    torch.testing.assert_close(model(changed)[:, :9], logits[:, :9], atol=1e-12, rtol=1e-12)
    for index in range(3):
        torch.testing.assert_close(model(tokens[index : index + 1])[0], logits[index])


@every_kind
@torch.no_grad()
def test_any_chunks_with_caches_are_the_full_pass(changes):
    model, tokens = small(**changes), torch.randint(31, (2, 13))
    for chunks in ([13], [1] * 13, [6, 1, 1, 5]):
        caches = model.new_caches()
        parts = [model(part, caches=caches) for part in tokens.split(chunks, dim=1)]
        torch.testing.assert_close(torch.cat(parts, dim=1), model(tokens))


def test_every_kind_of_layer_gets_the_cache_that_fits():
    for changes, cache in (
        ({}, KeyValueCache),
        ({"window": 4}, SlidingCache),
        (KINDS["latent"], LatentCache),
    ):
        caches = small(**changes).new_caches(5)
        assert [type(each) for each in caches] == [cache] * 2
    assert isinstance(small(**KINDS["latent"]).blocks[0].attn, LatentAttention)
    assert isinstance(small().blocks[0].attn, MultiHeadAttention)


def test_padding_is_neither_seen_nor_counted():
    model, tokens = small(**KINDS["experts"]), torch.randint(31, (2, 7))
    valid = torch.tensor([[True] * 7, [False] * 3 + [True] * 4])
    routings, other = [], []
    logits = model(tokens, valid=valid, routings=routings)
    changed = torch.where(valid, tokens, (tokens + 11) % 31)
    torch.testing.assert_close(model(changed, valid=valid, routings=other)[valid], logits[valid])
    assert len(routings) == 2
    for ours, theirs in zip(routings, other, strict=True):
        torch.testing.assert_close(load_balancing_loss(ours), load_balancing_loss(theirs))
    sum(load_balancing_loss(routing) for routing in routings).backward()
    assert float(model.blocks[0].mlp.router.weight.grad.abs().max()) > 0


def test_it_learns_to_repeat_what_it_has_read():
    torch.manual_seed(0)
    model = Decoder(num_tokens=11, embed_dim=32, depth=2, num_heads=4)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(150):
        half = torch.randint(11, (32, 6))
        tokens = torch.cat([half, half], dim=1)
        loss = torch.nn.functional.cross_entropy(model(tokens)[:, 5:-1].flatten(0, 1), half.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert float(loss.detach()) < 0.5  # guessing: log 11 = 2.4


def test_it_is_built_by_name_and_refuses_what_cannot_be():
    assert isinstance(build("decoder", SMALL), Decoder)
    with pytest.raises(
        ValueError, match="positions must be one of rotary, learnable, none, but got 'linear'"
    ):
        small(positions="linear")
    with pytest.raises(ValueError, match="attention must be one of multi_head, latent, but got 'swin'"):
        small(attention="swin")
    with pytest.raises(ValueError, match=r"num_heads divide embed_dim, but got.*embed_dim=25, num_heads=3"):
        small(embed_dim=25)
    with pytest.raises(
        ValueError, match="max_length belongs to learnable positions, but got positions='rotary'"
    ):
        small(max_length=5)
    with pytest.raises(ValueError, match="shares its latent among all heads, but got num_key_heads=1"):
        small(attention="latent", num_key_heads=1)
    with pytest.raises(ValueError, match="window must be 1 or more tokens, or None for all, but got 0"):
        small(window=0)
    with pytest.raises(ValueError, match="learnable positions end at max_length=13, but got 14 tokens"):
        small(**KINDS["learnable"])(torch.zeros(1, 14, dtype=torch.long))
    model, tokens = small(), torch.zeros(1, 3, dtype=torch.long)
    with (
        torch.no_grad(),
        pytest.raises(ValueError, match=r"one for each of 2 blocks.*got 1 caches, valid not given"),
    ):
        model(tokens, caches=model.new_caches()[:1])
    with torch.no_grad(), pytest.raises(ValueError, match="without padding, but got 2 caches, valid given"):
        model(tokens, caches=model.new_caches(), valid=tokens == 0)


@torch.no_grad()
def copied_mlp(ours, theirs):
    ours.gate_up.weight.copy_(torch.cat([theirs.gate_proj.weight, theirs.up_proj.weight]))
    ours.down.weight.copy_(theirs.down_proj.weight)


@torch.no_grad()
def copied_frame(ours, theirs):
    """Copy all but attention and MLP."""
    for name, parameter in theirs.named_parameters():
        torch.nn.init.normal_(parameter, mean=float(name.endswith("norm.weight")), std=0.3)
    ours.embed.weight.copy_(theirs.model.embed_tokens.weight)
    ours.norm.weight.copy_(theirs.model.norm.weight)
    ours.head.weight.copy_(theirs.lm_head.weight)
    for mine, block in zip(ours.blocks, theirs.model.layers, strict=True):
        mine.norm1.weight.copy_(block.input_layernorm.weight)
        mine.norm2.weight.copy_(block.post_attention_layernorm.weight)


@pytest.mark.slow
@pytest.mark.parametrize("num_key_heads", [6, 2, 1])
@torch.no_grad()
def test_llama_of_hugging_face_is_the_same_with_a_cache_and_without(num_key_heads):
    transformers = pytest.importorskip("transformers")
    config = transformers.LlamaConfig(
        vocab_size=31,
        hidden_size=36,
        num_hidden_layers=3,
        num_attention_heads=6,
        num_key_value_heads=num_key_heads,
        intermediate_size=17,
        attention_bias=True,
        rms_norm_eps=1e-6,
        rope_theta=50.0,
    )
    theirs = transformers.LlamaForCausalLM(config).double().eval()
    sizes = {"embed_dim": 36, "depth": 3, "num_heads": 6, "num_key_heads": num_key_heads, "rotary_base": 50.0}
    ours = small(**sizes)
    copied_frame(ours, theirs)
    for mine, block in zip(ours.blocks, theirs.model.layers, strict=True):
        parts = [block.self_attn.q_proj, block.self_attn.k_proj, block.self_attn.v_proj]
        mine.attn.qkv.weight.copy_(torch.cat([part.weight for part in parts]))
        mine.attn.qkv.bias.copy_(torch.cat([part.bias for part in parts]))
        mine.attn.proj.load_state_dict(block.self_attn.o_proj.state_dict())
        copied_mlp(mine.mlp, block.mlp)
    tokens = torch.randint(31, (2, 13))
    # Theirs computes angles in float32 even here, so no tolerance of float64 can be asked for.
    torch.testing.assert_close(ours(tokens), theirs(tokens).logits, atol=1e-4, rtol=1e-4)
    caches, past = ours.new_caches(), transformers.DynamicCache(config=config)
    for part in tokens.split([7, 1, 1, 4], dim=1):
        step = theirs(part, past_key_values=past, use_cache=True).logits
        torch.testing.assert_close(ours(part, caches=caches), step, atol=1e-4, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("query_latent_dim", [None, 10])
@torch.no_grad()
def test_deepseek_v3_of_hugging_face_is_the_same_absorbed_and_unfolded(query_latent_dim):
    transformers = pytest.importorskip("transformers")
    config = transformers.DeepseekV3Config(
        vocab_size=31,
        hidden_size=24,
        num_hidden_layers=2,
        num_attention_heads=3,
        num_key_value_heads=3,
        intermediate_size=17,
        q_lora_rank=query_latent_dim,
        kv_lora_rank=11,
        qk_nope_head_dim=7,
        qk_rope_head_dim=4,
        v_head_dim=5,
        first_k_dense_replace=2,
        rms_norm_eps=1e-6,
        rope_parameters={"rope_type": "default", "rope_theta": 50.0},
        rope_interleave=False,
    )
    theirs = transformers.DeepseekV3ForCausalLM(config).double().eval()
    options = {"head_dim": 7, "rotary_dim": 4, "value_dim": 5, "latent_dim": 11}
    options["query_latent_dim"] = query_latent_dim
    ours = small(attention="latent", attention_options=options, rotary_base=50.0)
    copied_frame(ours, theirs)
    for mine, block in zip(ours.blocks, theirs.model.layers, strict=True):
        copied_latent(mine.attn, block.self_attn)
        copied_mlp(mine.mlp, block.mlp)
    tokens = torch.randint(31, (2, 13))
    expected = theirs(tokens).logits
    torch.testing.assert_close(ours(tokens), expected, atol=1e-4, rtol=1e-4)
    caches = ours.new_caches()
    steps = [ours(part, caches=caches) for part in tokens.split([7, 1, 1, 4], dim=1)]
    torch.testing.assert_close(torch.cat(steps, dim=1), expected, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def copied_latent(ours, theirs):
    if theirs.q_lora_rank is None:
        ours.query.weight.copy_(theirs.q_proj.weight)
    else:
        for mine, part in zip(
            ours.query, (theirs.q_a_proj, theirs.q_a_layernorm, theirs.q_b_proj), strict=True
        ):
            mine.weight.copy_(part.weight)
    ours.down.weight.copy_(theirs.kv_a_proj_with_mqa.weight)
    ours.norm.weight.copy_(theirs.kv_a_layernorm.weight)
    ours.up.weight.copy_(theirs.kv_b_proj.weight)
    ours.proj.weight.copy_(theirs.o_proj.weight)
