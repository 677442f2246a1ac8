"""Experts and router against loops and Hugging Face's, balance, capacity, and where naive code goes wrong."""

import pytest
import torch

from archaeology.models.experts import Experts, MixtureOfExperts, grouped_product, places
from archaeology.models.router import Router, Routing, load_balancing_loss


def layer(*sizes, dtype=torch.float64, **changes):
    torch.manual_seed(0)
    options = {"num_experts": 5, "num_chosen": 2, **changes}
    made = MixtureOfExperts(*(sizes or (7, 11)), **options).to(dtype).eval()
    torch.nn.init.normal_(made.router.weight)
    return made


def looped(made, tokens):
    """One token and one expert at a time; softmax, the highest two, their scores made to sum to one."""
    result = torch.zeros_like(tokens)
    for b, sequence in enumerate(tokens):
        for t, token in enumerate(sequence):
            scores = (made.router.weight @ token).softmax(0)
            best = sorted(range(len(scores)), key=lambda e: -float(scores[e]))[:2]
            for e in best:
                gate, up = (made.experts.gate_up[e] @ token).chunk(2)
                answer = made.experts.down[e] @ (gate / (1 + torch.exp(-gate)) * up)
                result[b, t] += scores[e] / sum(scores[other] for other in best) * answer
    return result


@torch.no_grad()
def test_it_is_what_the_paper_says():
    made, tokens = layer(), torch.randn(2, 13, 7, dtype=torch.float64)
    torch.testing.assert_close(made(tokens), looped(made, tokens), atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("sizes", [(16, 32), (7, 11)], ids=["grouped", "in turns"])
def test_grouped_and_in_turns_are_the_definition_with_its_gradient(sizes, dtype):
    width, out = sizes
    counts = torch.tensor([4, 0, 8, 1])
    rows, weights = torch.randn(13, width, dtype=dtype), torch.randn(4, out, width, dtype=dtype)
    owner = torch.arange(4).repeat_interleave(counts)
    given = [rows.clone().requires_grad_(), weights.clone().requires_grad_()]
    exact = [rows.double().requires_grad_(), weights.double().requires_grad_()]
    direction = torch.randn(13, out, dtype=dtype)
    result = grouped_product(*given, counts)
    expected = torch.einsum("vf,vof->vo", exact[0], exact[1][owner])
    result.backward(direction)
    expected.backward(direction.double())
    tolerance = {"atol": 1e-4, "rtol": 1e-4} if dtype == torch.float32 else {"atol": 0.15, "rtol": 0.03}
    torch.testing.assert_close(result.double(), expected, **tolerance)
    for ours, theirs in zip(given, exact, strict=True):
        torch.testing.assert_close(ours.grad.double(), theirs.grad, **tolerance)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_dtype_is_kept_and_the_answer_near_the_exact_one(dtype):
    made, tokens = layer(16, 32), torch.randn(2, 5, 16, dtype=torch.float64)
    tolerance = {"atol": 1e-5, "rtol": 1e-5} if dtype == torch.float32 else {"atol": 0.05, "rtol": 0.05}
    with torch.no_grad():
        exact = made(tokens.to(dtype).double())
        half = layer(16, 32, dtype=dtype)
        half.load_state_dict({name: value.to(dtype) for name, value in made.state_dict().items()})
        answer = half(tokens.to(dtype))
    assert answer.dtype == dtype
    torch.testing.assert_close(answer.double(), exact, **tolerance)


@pytest.mark.parametrize("options", [{}, {"num_shared": 1, "scoring": "sigmoid"}, {"capacity_factor": 0.7}])
def test_gradients_are_those_of_finite_differences(options):
    made, tokens = layer(**options).train(), torch.randn(2, 3, 7, dtype=torch.float64, requires_grad=True)
    names = [name for name, _ in made.named_parameters()]

    def run(tokens, *values):
        return torch.func.functional_call(made, dict(zip(names, values, strict=True)), (tokens,))

    torch.autograd.gradcheck(run, (tokens, *(value for value in made.parameters())))


def test_every_example_alone_is_the_same_and_order_does_not_matter():
    made, tokens = layer(num_shared=2), torch.randn(3, 5, 7, dtype=torch.float64)
    for index in range(3):
        torch.testing.assert_close(made(tokens[index : index + 1])[0], made(tokens)[index])
    torch.testing.assert_close(made(tokens.flip(1)).flip(1), made(tokens))
    assert made(tokens[:, :0]).shape == (3, 0, 7)


def test_padding_goes_nowhere_counts_nowhere_and_may_hold_anything():
    made, tokens = layer(), torch.randn(2, 5, 7, dtype=torch.float64)
    valid = torch.tensor([[True] * 5, [True] * 2 + [False] * 3])
    unread = tokens.masked_fill(~valid[..., None], float("nan")).requires_grad_()
    routings, short = [], []
    answer = made(unread, valid=valid, routings=routings)
    torch.testing.assert_close(answer[valid], made(tokens)[valid])
    assert float(answer.detach()[~valid].abs().max()) == 0
    (answer.sum() + load_balancing_loss(routings[0])).backward()
    assert bool(made.router.weight.grad.isfinite().all()) and float(unread.grad[~valid].abs().max()) == 0
    made(tokens[valid][None], routings=short)
    torch.testing.assert_close(routings[0].load, short[0].load)
    torch.testing.assert_close(load_balancing_loss(routings[0]), load_balancing_loss(short[0]))
    assert float(made(unread, valid=torch.zeros_like(valid)).detach().abs().max()) == 0


def test_capacity_drops_later_tokens_in_training_and_says_how_many():
    made, tokens = layer(num_experts=3, num_chosen=1, capacity_factor=1.0), torch.randn(2, 7, 7).double()
    with torch.no_grad():
        made.router.weight.zero_()
        made.router.bias += torch.tensor([1.0, 0, 0]).double()  # all want the first
    routings = []
    full = made(tokens, routings=routings)
    dropped = made.train()(tokens, routings=routings)
    assert [routing.num_dropped for routing in routings] == [0, 2 * (7 - 3)]
    torch.testing.assert_close(dropped[:, :3], full[:, :3])
    assert float(dropped[:, 3:].detach().abs().max()) == 0


def test_places_count_what_came_before_in_the_same_example():
    chosen = torch.tensor([[[0, 1], [1, 2], [1, 0]], [[2, 0], [2, 0], [2, 1]]])
    assert places(chosen, 3, None).tolist() == [[[0, 0], [1, 0], [2, 1]], [[0, 0], [1, 1], [2, 0]]]
    counted = torch.tensor([[True, False, True], [True] * 3])[..., None].expand(2, 3, 2)
    assert places(chosen, 3, counted).tolist()[0] == [[0, 0], [1, 0], [1, 1]]


def test_capacity_tells_no_token_of_later_ones():
    made, tokens = layer(capacity_factor=0.8).train(), torch.randn(2, 7, 7, dtype=torch.float64)
    changed = tokens.clone()
    changed[:, 5:] *= -1000
    torch.testing.assert_close(made(changed)[:, :5], made(tokens)[:, :5])


def routing_of(chosen, scores):
    chosen = torch.tensor(chosen)[None]
    return Routing(chosen, torch.full(chosen.shape, 0.5), torch.tensor(scores)[None])


def test_loss_is_one_at_balance_and_pooling_layers_would_hide_collapse():
    even = routing_of([[0, 1], [2, 3]], [[0.25] * 4] * 2)
    assert float(load_balancing_loss(even)) == pytest.approx(1)
    left = routing_of([[0, 1]] * 2, [[0.5, 0.5, 0, 0]] * 2)
    right = routing_of([[2, 3]] * 2, [[0, 0, 0.5, 0.5]] * 2)
    assert float(load_balancing_loss(left)) == float(load_balancing_loss(right)) == pytest.approx(2)
    pooled = routing_of([[0, 1]] * 2 + [[2, 3]] * 2, [[0.5, 0.5, 0, 0]] * 2 + [[0, 0, 0.5, 0.5]] * 2)
    assert float(load_balancing_loss(pooled)) == pytest.approx(1)


def test_weights_belong_to_the_slot_of_their_expert():
    router = Router(7, 5, 2).double()
    torch.nn.init.normal_(router.weight)
    routing = router(torch.randn(2, 3, 7).double())
    kept = routing.scores.gather(-1, routing.chosen)
    torch.testing.assert_close(routing.weights, kept / kept.sum(-1, keepdim=True))
    assert bool((kept[..., 0] >= kept[..., 1]).all())


def test_the_loss_and_the_bias_both_balance_a_lopsided_router():
    torch.manual_seed(0)
    tokens = torch.randn(1, 512, 8) + 1.0
    taught = Router(8, 8, 2)
    optimizer = torch.optim.Adam(taught.parameters(), lr=0.03)
    start = float(taught(tokens).load.max())
    for _ in range(200):
        optimizer.zero_grad()
        load_balancing_loss(taught(tokens)).backward()
        optimizer.step()
    biased = Router(8, 8, 2)
    before = biased.weight.detach().clone()
    for _ in range(300):
        biased.balance(biased(tokens).load, rate=5e-3)
    assert start > 0.25
    assert float(taught(tokens).load.max()) < 0.16
    assert float(biased(tokens).load.max()) < 0.16
    assert torch.equal(biased.weight, before) and not biased.bias.requires_grad
    assert "bias" in biased.state_dict() and "bias" not in dict(biased.named_parameters())


def test_the_bias_changes_who_is_chosen_and_not_how_much_they_count():
    router = Router(7, 5, 5).double()
    tokens = torch.randn(1, 3, 7).double()
    plain = router(tokens)
    router.bias += torch.tensor([3.0, 0, 0, 0, 0])
    pushed = router(tokens)
    assert bool((pushed.chosen[..., 0] == 0).all())
    torch.testing.assert_close(pushed.weights.sort(-1).values, plain.weights.sort(-1).values)


def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match="scoring must be one of softmax, sigmoid, but got 'tanh'"):
        Router(7, 4, 2, scoring="tanh")
    with pytest.raises(ValueError, match=r"num_groups must divide num_experts.*num_experts=5, num_groups=2"):
        Router(7, 5, 2, num_groups=2)
    with pytest.raises(
        ValueError, match="num_chosen must be 1 to 2, the experts in the chosen groups, but got 3"
    ):
        Router(7, 4, 3, num_groups=2)
    with pytest.raises(
        ValueError, match=r"capacity_factor must be above 0, or None for no limit, but got 0\.0"
    ):
        MixtureOfExperts(7, 11, capacity_factor=0.0)


@pytest.mark.slow
@pytest.mark.parametrize("sizes", [(16, 32), (6, 10)])
@torch.no_grad()
def test_mixtral_of_hugging_face_is_the_same(sizes):
    pytest.importorskip("transformers")
    from transformers.models.mixtral.configuration_mixtral import MixtralConfig
    from transformers.models.mixtral.modeling_mixtral import MixtralSparseMoeBlock, load_balancing_loss_func

    width, hidden = sizes
    config = MixtralConfig(
        hidden_size=width, intermediate_size=hidden, num_local_experts=5, num_experts_per_tok=2
    )
    config._experts_implementation = "eager"
    theirs = MixtralSparseMoeBlock(config).eval()
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    ours = layer(width, hidden, dtype=torch.float32)
    ours.router.weight.copy_(theirs.gate.weight)
    ours.experts.gate_up.copy_(theirs.experts.gate_up_proj)
    ours.experts.down.copy_(theirs.experts.down_proj)
    tokens, routings = torch.randn(3, 7, width), []
    torch.testing.assert_close(ours(tokens, routings=routings), theirs(tokens), atol=1e-5, rtol=1e-5)
    valid = torch.rand(3, 7) > 0.3
    logits = theirs.gate(tokens)[0]
    loss = load_balancing_loss_func((logits,), 5, 2)
    torch.testing.assert_close(2 * load_balancing_loss(routings[0]), loss)  # theirs counts every choice
    ours(tokens, valid=valid, routings=routings)
    masked = load_balancing_loss_func((logits,), 5, 2, attention_mask=valid.long())
    torch.testing.assert_close(2 * load_balancing_loss(routings[1]), masked)


@pytest.mark.slow
@torch.no_grad()
def test_the_layer_of_deepseek_v3_of_hugging_face_is_the_same():
    pytest.importorskip("transformers")
    from transformers.models.deepseek_v3.configuration_deepseek_v3 import DeepseekV3Config
    from transformers.models.deepseek_v3.modeling_deepseek_v3 import DeepseekV3MoE

    config = DeepseekV3Config(
        hidden_size=16,
        moe_intermediate_size=12,
        n_routed_experts=12,
        n_shared_experts=2,
        num_experts_per_tok=3,
        n_group=4,
        topk_group=2,
        routed_scaling_factor=2.5,
        norm_topk_prob=True,
    )
    config._experts_implementation = "eager"
    theirs = DeepseekV3MoE(config).eval()
    for parameter in (*theirs.parameters(), theirs.gate.e_score_correction_bias):
        torch.nn.init.normal_(parameter, std=0.5)
    options = {"num_experts": 12, "num_chosen": 3, "num_shared": 2, "scoring": "sigmoid"}
    ours = layer(16, 12, dtype=torch.float32, num_groups=4, num_chosen_groups=2, scale=2.5, **options)
    ours.router.weight.copy_(theirs.gate.weight)
    ours.router.bias.copy_(theirs.gate.e_score_correction_bias)
    ours.experts.gate_up.copy_(theirs.experts.gate_up_proj)
    ours.experts.down.copy_(theirs.experts.down_proj)
    shared = theirs.shared_experts
    ours.shared.gate_up.weight.copy_(torch.cat([shared.gate_proj.weight, shared.up_proj.weight]))
    ours.shared.down.weight.copy_(shared.down_proj.weight)
    tokens = torch.randn(3, 7, 16)
    _, weights, chosen = theirs.gate(tokens)
    routing = ours.router(tokens)
    order = chosen.reshape(3, 7, 3).argsort(-1)
    mine = routing.chosen.argsort(-1)
    assert torch.equal(chosen.reshape(3, 7, 3).gather(-1, order), routing.chosen.gather(-1, mine))
    torch.testing.assert_close(weights.reshape(3, 7, 3).gather(-1, order), routing.weights.gather(-1, mine))
    torch.testing.assert_close(ours(tokens), theirs(tokens), atol=1e-5, rtol=1e-5)


def test_experts_start_as_linear_layers_do():
    torch.manual_seed(0)
    experts = Experts(3, 64, 16)
    assert float(experts.gate_up.detach().abs().max()) <= 1 / 8
    assert float(experts.down.detach().abs().max()) == pytest.approx(1 / 4, rel=0.01)
