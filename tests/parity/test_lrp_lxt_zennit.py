"""Relevance propagation against lxt (transformers) and zennit (convolutional networks)."""

import sys
from functools import partial
from importlib import import_module
from pathlib import Path
from types import MethodType, ModuleType

import pytest
import torch
import torchvision
from tests.ablate import small_models as small
from torch import nn

from archaeology.capture.relevance import relevance_rules


@pytest.fixture
def patches(monkeypatch):
    """Their forward functions, without their package's front door, which wants an older transformers."""
    lxt = pytest.importorskip(
        "lxt"
    )  # a peer, as all in tests/parity; the lock has it, so CI runs these tests
    package = ModuleType("lxt.efficient")
    package.__path__ = [str(Path(lxt.__file__).parent / "efficient")]
    monkeypatch.setitem(sys.modules, "lxt.efficient", package)
    return import_module("lxt.efficient.patches")


def relevance(model, given, target, **rules):
    given = given.detach().clone().requires_grad_()
    with relevance_rules(model, **rules):
        score = model(given)[:, target].sum()
    return given.detach() * torch.autograd.grad(score, given)[0]


def plain_relevance(model, given, target):
    given = given.detach().clone().requires_grad_()
    return given.detach() * torch.autograd.grad(model(given)[:, target].sum(), given)[0]


def assert_close(ours, expected):
    difference = float((ours - expected).norm() / expected.norm())
    assert difference < 1e-5, difference


def patched(model, patches):
    """Their forward functions on every norm and activation of this model."""
    for module in model.modules():
        if isinstance(module, nn.LayerNorm):
            module.forward = MethodType(patches.layer_norm_forward, module)
        elif isinstance(module, nn.GELU) or type(module).__name__ == "GELUActivation":
            module.original_forward = module.forward
            module.forward = MethodType(patches.non_linear_forward, module)
    return model


def test_cp_on_the_transformer_of_torchvision(patches):
    specimen = small.torchvision_vit()
    given = specimen.prepare(small.images(3, 6, 6))
    specimen.model.requires_grad_(False)
    ours = relevance(specimen.model, given, 4, rule="cp")
    model = patched(specimen.model, patches)
    for module in model.modules():
        if isinstance(module, nn.MultiheadAttention):
            module.original_forward = module.forward
            module.forward = MethodType(patches.cp_multi_head_attention_forward, module)
    assert_close(ours, plain_relevance(model, given, 4))


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_attnlrp_on_the_transformer_of_hugging_face(attention, monkeypatch, patches):
    transformers = pytest.importorskip("transformers")
    modeling = pytest.importorskip("transformers.models.vit.modeling_vit")
    config = transformers.ViTConfig(
        hidden_size=15,
        num_hidden_layers=2,
        num_attention_heads=3,
        intermediate_size=22,
        image_size=6,
        patch_size=3,
        num_labels=small.CLASSES,
        attn_implementation=attention,
    )
    specimen = small.specimen(transformers.ViTForImageClassification(config), (6, 6))

    class Logits(nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def forward(self, pixels):
            return self.inner(pixels).logits

    model = Logits(specimen.model.requires_grad_(False))
    given = specimen.prepare(small.images(3, 6, 6))
    ours = relevance(model, given, 4)
    inner = modeling.ALL_ATTENTION_FUNCTIONS.get_interface(attention, modeling.eager_attention_forward)
    theirs = patches.wrap_attention_forward(inner)
    monkeypatch.setattr(modeling.ALL_ATTENTION_FUNCTIONS, "get_interface", lambda *_: theirs)
    assert_close(ours, plain_relevance(patched(model, patches), given, 4))


def convolutional():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(
            nn.Conv2d(3, 5, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(5, 7, 3, stride=2),
            nn.ReLU(),
            nn.AvgPool2d(2),
            nn.Flatten(),
            nn.Linear(28, 6),
            nn.ReLU(),
            nn.Linear(6, small.CLASSES),
        )
    return model.double().requires_grad_(False)


@pytest.mark.parametrize("gamma", [0.0, 0.25, 2.0])
def test_epsilon_and_gamma_on_a_convolutional_network(gamma):
    composites = pytest.importorskip("zennit.composites")
    rules = pytest.importorskip("zennit.rules")
    types = pytest.importorskip("zennit.types")
    model, target = convolutional(), 3
    given = torch.randn(2, 3, 10, 11, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    ours = relevance(model, given, target, gamma=gamma)
    rule = partial(rules.Gamma, gamma, stabilizer=1e-12) if gamma else partial(rules.Epsilon, 1e-12)
    layers = [(types.Activation, rules.Pass()), (types.AvgPool, rules.Norm(stabilizer=1e-12))]
    composite = composites.LayerMapComposite([*layers, (types.Linear, rule()), (types.Convolution, rule())])
    theirs = given.clone().requires_grad_()
    with composite.context(model) as hooked:
        answer = hooked(theirs)
        start = torch.zeros_like(answer)
        start[:, target] = answer.detach()[:, target]
        expected = torch.autograd.grad(answer, theirs, start)[0]
    assert_close(ours, expected)


def test_a_residual_network_is_gradient_times_input():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = torchvision.models.resnet18(weights=None, num_classes=7).eval().requires_grad_(False)
    given = torch.randn(2, 3, 32, 33, generator=torch.Generator().manual_seed(0))
    assert_close(relevance(model, given, 3), plain_relevance(model, given, 3))
