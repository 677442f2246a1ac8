import pytest
import torch
import torch.nn.functional as F
from tests.ablate import small_models as small
from tests.capture import relevance_models as models
from tests.oracles import relevance as oracle
from torch import nn

from archaeology.capture.relevance import relevance_rules
from archaeology.core.errors import SelfCheckError, UnknownNameError


def relevance(model, given, target=None, rule="attnlrp", gamma=0.0):
    """Input times gradient under the rules, and the logits."""
    given = given.clone().requires_grad_()
    with relevance_rules(model, rule, gamma):
        logits = model(given)
    score = logits.sum() if target is None else logits[:, target].sum()
    return given.detach() * torch.autograd.grad(score, given)[0], logits.detach()


class Calls(nn.Module):
    """A function as a model."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, given):
        return self.function(given)


def assert_same_relevance(one, other, given):
    (ours, answer), (expected, same) = (relevance(Calls(function), given) for function in (one, other))
    torch.testing.assert_close(answer, same)
    torch.testing.assert_close(ours, expected)


@pytest.mark.parametrize("rule", ["attnlrp", "cp"])
@pytest.mark.parametrize("route", models.ROUTES)
def test_equals_loops(route, rule):
    made, given = models.block(route), models.tokens()
    found, logits = relevance(made, given, target=1, rule=rule)
    for number in range(len(given)):
        expected, logit = oracle.block(models.weights(made), given[number].tolist(), 1, rule)
        torch.testing.assert_close(
            found[number], torch.tensor(expected, dtype=torch.float64), rtol=1e-7, atol=1e-9
        )
        assert float(logits[number, 1]) == pytest.approx(logit, rel=1e-12)


@pytest.mark.parametrize("make", [small.timm_vit, small.torchvision_vit, small.swin, small.cait])
@pytest.mark.parametrize("gamma", [0.0, 0.3])
def test_answers_are_unchanged(make, gamma):
    made = make()
    given = made.prepare(small.images(3, *made.image_size))
    for rule in ("attnlrp", "cp"):
        found, logits = relevance(made.model.requires_grad_(False), given, 2, rule, gamma)
        own = made.model(given)
        assert float((logits - own).abs().max() / own.abs().max()) < 1e-5
        assert found.isfinite().all() and found.abs().amax((1, 2, 3)).min() > 0


def without_biases(made):
    for name, parameter in made.named_parameters():
        if name.endswith("bias") or "position" in name or "pos_embed" in name or "cls" in name:
            nn.init.zeros_(parameter)
    return made


@pytest.mark.parametrize("route", models.ROUTES)
def test_constant_patterns_conserve_relevance_where_nothing_else_speaks(route):
    found, logits = relevance(without_biases(models.block(route)), models.tokens(), 1, "cp")
    torch.testing.assert_close(found.sum((1, 2)), logits[:, 1])


def test_so_does_a_transformer_of_a_library():
    made = small.timm_vit(class_token=False)
    model = without_biases(made.model.requires_grad_(False)).double()
    found, logits = relevance(model, made.prepare(small.images(3)).double(), 2, "cp")
    torch.testing.assert_close(found.sum((1, 2, 3)), logits[:, 2])
    plain = made.prepare(small.images(3)).double().requires_grad_()
    gradient = torch.autograd.grad(model(plain)[:, 2].sum(), plain)[0]
    assert ((plain * gradient).sum((1, 2, 3)) - logits[:, 2]).abs().min() > 0.01


ACTIVATIONS = [
    F.gelu,
    F.silu,
    torch.tanh,
    F.elu,
    F.hardswish,
    F.mish,
    F.relu6,
    torch.erf,
    torch.square,
    F.relu,
]
IN_PLACE = [lambda x: F.silu(x, inplace=True), lambda x: x.clone().mul_(x), lambda x: x.clone().tanh_()]
PRODUCTS = [
    lambda x: x**3,
    lambda x: x * x,
    lambda x: x * torch.sigmoid(1.7 * x),
    lambda x: torch.einsum("ij,ij->ij", x, x),
]
NORMS = [
    lambda x: x / x.abs().sum(),
    lambda x: F.rms_norm(x, (7,)),
    lambda x: F.normalize(x, dim=-1),
    lambda x: x * x.pow(2).mean(-1, True).rsqrt(),
]


@pytest.mark.parametrize("function", [*ACTIVATIONS, *IN_PLACE, *PRODUCTS, *NORMS])
def test_what_passes_zero_through_passes_on_what_it_gets(function):
    given = torch.randn(3, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found, answer = relevance(Calls(lambda x: function(x * 1.0)), given)
    torch.testing.assert_close(found, answer)
    torch.testing.assert_close(answer, function(given * 1.0))


def test_norms_divide_by_constants_however_they_are_written():
    given = torch.randn(3, 6, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    weight, bias = torch.arange(1.0, 6, dtype=torch.float64), torch.arange(5.0, dtype=torch.float64)

    def by_hand(x):
        centred = x - x.mean(-1, keepdim=True)
        return centred / torch.sqrt(centred.pow(2).mean(-1, keepdim=True) + 1e-5) * weight + bias

    def by_variance(x):
        return (x - x.mean(-1, keepdim=True)) * (
            x.var(-1, unbiased=False, keepdim=True) + 1e-5
        ) ** -0.5 * weight + bias

    assert_same_relevance(lambda x: F.layer_norm(x, (5,), weight, bias), by_hand, given)
    assert_same_relevance(lambda x: F.layer_norm(x, (5,), weight=weight, bias=bias), by_variance, given)
    assert_same_relevance(
        lambda x: F.rms_norm(x, (5,), weight, 1e-6),
        lambda x: weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)),
        given,
    )
    assert_same_relevance(
        lambda x: F.group_norm(x, 1, weight[:1].repeat(6), None),
        lambda x: F.layer_norm(x, (6, 5)),
        given,
    )
    assert_same_relevance(
        lambda x: F.group_norm(x[:, :5].mT, 5, weight, bias).mT,
        lambda x: F.layer_norm(x[:, :5].mT, (5,)).mT * weight + bias,
        given,
    )


def test_factors_share_alike_but_gates_get_nothing():
    given = torch.randn(2, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))

    def product(x):
        return x[:, :2] * x[:, 2:]

    found, answer = relevance(Calls(product), given)
    torch.testing.assert_close(found, torch.cat([answer, answer], dim=1) / 2)
    found, answer = relevance(Calls(lambda x: x[:, :2] * x[:, 2:].sigmoid()), given)
    torch.testing.assert_close(found, torch.cat([answer, 0 * answer], dim=1))
    found, _ = relevance(Calls(lambda x: x.sigmoid() * x.sigmoid()), given)
    assert found.abs().min() > 0  # where there is no signal, gates are all there is


def test_a_query_that_is_learned_leaves_the_keys_all_that_is_due():
    given = torch.randn(2, 1, 5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    learned = torch.ones(2, 1, 2, 3, dtype=torch.float64)

    def eager(x):
        return (learned @ x.mT / 3**0.5).softmax(-1) @ (2 * x)

    assert_same_relevance(lambda x: F.scaled_dot_product_attention(learned, x, 2 * x), eager, given)


def test_a_model_may_work_in_place_without_the_result():
    def works_in_place(x):
        kept = x * 1
        torch.nn.functional.silu(kept, inplace=True)
        return kept

    assert_same_relevance(
        F.silu, works_in_place, torch.randn(2, 5, generator=torch.Generator().manual_seed(1))
    )


def test_nothing_changes_outside_the_block_or_without_a_gradient():
    made, given = models.block(), models.tokens().requires_grad_()
    before = torch.autograd.grad(made(given).sum(), given)[0]
    with relevance_rules(made), torch.no_grad():
        inside = made(given)
    torch.testing.assert_close(inside, made(given), rtol=0, atol=0)
    torch.testing.assert_close(torch.autograd.grad(made(given).sum(), given)[0], before, rtol=0, atol=0)
    with pytest.raises(RuntimeError, match="broken"), relevance_rules(made):
        raise RuntimeError("broken")
    torch.testing.assert_close(torch.autograd.grad(made(given).sum(), given)[0], before, rtol=0, atol=0)


def test_errors_say_what_to_do():
    made = models.block()
    with pytest.raises(
        UnknownNameError, match="No relevance rule is called 'attn_lrp'; did you mean 'attnlrp'"
    ):
        relevance(made, models.tokens(), rule="attn_lrp")
    with pytest.raises(ValueError, match=r"gamma must be finite and >= 0, but got gamma=-0\.5"):
        relevance(made, models.tokens(), gamma=-0.5)
    with pytest.raises(SelfCheckError, match=r"compiled by torch\.compile"):
        made._compiled_call_impl = made.forward  # as torch.compile leaves it behind
        relevance(made, models.tokens())
