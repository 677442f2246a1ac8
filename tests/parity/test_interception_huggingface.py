"""The patterns seen in Hugging Face's models are those it gives out itself (`output_attentions`, eager only)."""

import pytest
import torch
from torch import nn

from archaeology.capture import Attention, intercepted

transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.slow

NAMES = {
    "vit": ("ViTConfig", "ViTForImageClassification"),
    "dinov2": ("Dinov2Config", "Dinov2ForImageClassification"),
    "clip": ("CLIPVisionConfig", "CLIPVisionModel"),
}
DEPTH = 3


def _model(name, implementation):
    """A small random model whose patterns are sharp; each with its own config, or they would share the setting."""
    config, model = (getattr(transformers, part) for part in NAMES[name])
    torch.manual_seed(0)
    made = model(
        config(
            hidden_size=48,
            num_hidden_layers=DEPTH,
            num_attention_heads=3,
            intermediate_size=64,
            image_size=40,
            patch_size=8,
            attn_implementation=implementation,
        )
    ).eval()
    with torch.no_grad():
        for path, parameter in made.named_parameters():
            if path.endswith(("q_proj.weight", "k_proj.weight", "v_proj.weight")):
                parameter.normal_(std=0.2)
            elif path.endswith(("patch_embeddings.projection.weight", "patch_embedding.weight")):
                parameter.normal_(std=0.2)
    return made


def _answer(output):
    return output.logits if "logits" in output else output.last_hidden_state


def _num_hooks(model: nn.Module) -> int:
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules())


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_every_pattern_equals_the_models_own(name, implementation):
    reference = _model(name, "eager")
    model = _model(name, implementation)
    model.load_state_dict(reference.state_dict())
    images = torch.randn(2, 3, 40, 40)
    own = reference(images, output_attentions=True)
    before, plain = _num_hooks(model), _answer(model(images))
    events: list[Attention] = []
    with intercepted(model, events.append):
        output = _answer(model(pixel_values=images))
    assert torch.equal(output, plain)
    torch.testing.assert_close(output, _answer(own), atol=1e-5, rtol=1e-5)
    modules = [path for path, module in model.named_modules() if type(module).__name__.endswith("Attention")]
    assert [event.module for event in events] == modules
    assert len(modules) == len(own.attentions) == DEPTH
    for event, expected in zip(events, own.attentions, strict=True):
        assert event.route == ("sdpa" if implementation == "sdpa" else "softmax")
        assert (event.kind, event.shape, event.normalised) == ("token", (2, 3, 26, 26), True)
        torch.testing.assert_close(event.pattern(), expected, atol=1e-5, rtol=0)
        torch.testing.assert_close(event.pattern().sum(-1), torch.ones(2, 3, 26))
        assert float(event.pattern().amax(-1).mean()) > 4 / 26  # far from uniform, or this proves little
    with intercepted(model, None, materialise=True):
        explicit = _answer(model(images))
    torch.testing.assert_close(explicit, plain, atol=1e-5, rtol=1e-5)
    assert _num_hooks(model) == before


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
@pytest.mark.parametrize("name", NAMES)
def test_no_hook_is_left_after_an_exception(name, implementation):
    model = _model(name, implementation)
    before = _num_hooks(model)

    def crash(event):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), intercepted(model, crash):
        model(torch.randn(1, 3, 40, 40))
    assert _num_hooks(model) == before
    assert torch._C._len_torch_function_stack() == 0
