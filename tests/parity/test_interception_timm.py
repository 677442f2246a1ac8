"""The patterns seen in timm's models are those its own eager code hands to `attn_drop`, on both routes."""

import re

import pytest
import torch
from torch import nn

from archaeology.capture import Attention, intercepted

timm = pytest.importorskip("timm")

# name: (arguments that make it small, size of the images, whether it can also run fused, kinds in order)
MODELS = {
    "vit_tiny_patch16_224": ({"depth": 2}, 224, True, ["token"] * 2),
    "deit3_small_patch16_224": ({"depth": 2}, 224, True, ["token"] * 2),
    "vit_small_patch14_reg4_dinov2": ({"depth": 2, "img_size": 98}, 98, True, ["token"] * 2),
    "beit_base_patch16_224": ({"depth": 2, "img_size": 112}, 112, True, ["token"] * 2),
    "cait_xxs24_224": ({"depth": 2}, 224, True, ["token"] * 2 + ["pool"] * 2),
    "swin_tiny_patch4_window7_224": ({"depths": (2, 2, 2, 2)}, 224, True, ["window"] * 6 + ["token"] * 2),
    "swinv2_tiny_window8_256": ({"depths": (2, 2, 2, 2)}, 256, False, ["window"] * 6 + ["token"] * 2),
}
ATTENTION = re.compile(r"(Window)?Attention|TalkingHeadAttn|ClassAttn")
BATCH = 2


class CrashError(Exception):
    """Not one of ours."""


def _attention_modules(model) -> list[str]:
    return [path for path, module in model.named_modules() if ATTENTION.fullmatch(type(module).__name__)]


def _model(name, options):
    """A model whose random weights make sharp patterns, and whose attention reaches the logits."""
    torch.manual_seed(0)
    model = timm.create_model(name, pretrained=False, num_classes=11, **options).eval()
    with torch.no_grad():
        for path, parameter in model.named_parameters():
            if re.search(r"attn\.(qkv|q|k)\.weight$", path):
                parameter.normal_(std=1.3 / parameter.shape[1] ** 0.5)
            elif re.search(r"attn\.proj_[lw]\.weight$", path):  # the talking heads
                parameter.copy_(torch.eye(len(parameter)) + 0.3 * torch.randn_like(parameter))
            elif "relative_position_bias_table" in path:
                parameter.normal_()
            elif path.endswith("logit_scale"):
                parameter.add_(1)
            elif re.search(r"(gamma|gamma_1|gamma_2)$", path):
                parameter.fill_(0.5)
    return model


def _fuse(model, fused):
    for module in model.modules():
        if hasattr(module, "fused_attn"):
            module.fused_attn = fused


def _own_patterns(model, images):
    """Output of the eager model, and what it gives to `attn_drop`, by module."""
    found: dict[str, torch.Tensor] = {}
    handles = [
        model.get_submodule(f"{path}.attn_drop").register_forward_hook(
            lambda module, given, output, path=path: found.__setitem__(path, output)
        )
        for path in _attention_modules(model)
    ]
    _fuse(model, False)
    output = model(images)
    for handle in handles:
        handle.remove()
    return output, found


def _num_hooks(model: nn.Module) -> int:
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules())


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
@torch.no_grad()
def test_every_pattern_equals_the_models_own(name):
    options, size, can_fuse, kinds = MODELS[name]
    model = _model(name, options)
    images = torch.randn(BATCH, 3, size, size, generator=torch.Generator().manual_seed(1))
    expected, own = _own_patterns(model, images)
    modules = _attention_modules(model)
    assert len(own) == len(modules) == len(kinds)
    before = _num_hooks(model)
    for fused in (False, True)[: 1 + can_fuse]:
        _fuse(model, fused)
        plain = model(images)
        events: list[Attention] = []
        with intercepted(model, events.append):
            output = model(images)
        assert torch.equal(output, plain)
        torch.testing.assert_close(output, expected, atol=1e-5, rtol=1e-5)
        assert [event.module for event in events] == modules
        assert [event.kind for event in events] == kinds
        for event in events:
            pattern = event.pattern()
            torch.testing.assert_close(pattern, own[event.module], atol=1e-5, rtol=0)
            assert (
                float(pattern.amax(-1).mean()) > 4 / event.shape[3]
            )  # far from uniform, or this proves little
            assert event.normalised is (event.kind == "pool" or "cait" not in name)  # talking heads
            if event.normalised:
                torch.testing.assert_close(pattern.sum(-1), torch.ones_like(pattern[..., 0]))
        if fused:
            assert {event.route for event in events} == ({"sdpa", "softmax"} if "cait" in name else {"sdpa"})
        else:
            assert {event.route for event in events} == {"softmax"}
        with intercepted(model, None, materialise=True):
            explicit = model(images)
        torch.testing.assert_close(explicit, plain, atol=1e-5, rtol=1e-5)
        assert _num_hooks(model) == before


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
@torch.no_grad()
def test_no_hook_is_left_after_an_exception(name):
    options, size, _, _ = MODELS[name]
    model = _model(name, options)
    before = _num_hooks(model)

    def crash(event):
        raise CrashError

    with pytest.raises(CrashError), intercepted(model, crash):
        model(torch.randn(1, 3, size, size))
    assert _num_hooks(model) == before
    assert torch._C._len_torch_function_stack() == 0
