"""Two tokens, two heads: what the distilled model answers in training and in evaluation, and how it is laid out."""

import pytest
import torch

from archaeology.capture.checks import check_capture
from archaeology.capture.record import capture
from archaeology.core.errors import UnknownNameError
from archaeology.explain.method import explain
from archaeology.models import DeiT, ViT, build
from archaeology.specimens.layout import TokenLayout
from archaeology.specimens.load import load
from archaeology.training.checkpoint import save_checkpoint

SMALL = {"image_size": (12, 20), "num_classes": 7, "embed_dim": 24, "depth": 2, "num_heads": 3}


def small(**changes):
    torch.manual_seed(0)
    model = DeiT(**{**SMALL, **changes})
    for head in (model.head, model.head_distillation):
        torch.nn.init.normal_(head.weight)
    return model


def test_training_gives_two_opinions_and_evaluation_their_mean():
    model, images = small(), torch.randn(3, 3, 12, 20)
    own, taught = model.train()(images)
    assert own.shape == taught.shape == (3, 7)
    assert float((own - taught).detach().abs().max()) > 0.1
    torch.testing.assert_close(model.eval()(images), (own + taught) / 2)


def test_each_head_reads_its_own_token():
    model = small().eval()
    tokens = torch.randn(2, 2 + 15, 24)
    changed = tokens.clone()
    changed[:, 1] = torch.randn(2, 24)
    own, taught = model.train().classify(tokens)
    own_again, taught_again = model.classify(changed)
    torch.testing.assert_close(own, own_again)
    assert float((taught - taught_again).detach().abs().max()) > 0.01


def test_first_answers_know_nothing_and_every_parameter_learns():
    model = DeiT(**SMALL)
    assert not bool(torch.stack(model(torch.randn(2, 3, 12, 20))).any())
    model, images = small(), torch.randn(2, 3, 12, 20)
    own, taught = model(images)
    (own.square().sum() + taught.square().sum()).backward()
    grads = {name: parameter.grad for name, parameter in model.named_parameters()}
    assert [name for name, grad in grads.items() if grad is None or not bool(grad.any())] == []


def test_patches_can_be_dropped():
    model = small().train()
    model.patch_keep = 0.5
    assert model(torch.randn(2, 3, 12, 20))[1].shape == (2, 7)


def test_layout_names_both_tokens():
    assert small(num_registers=1).token_layout() == {
        "rows": 3,
        "columns": 5,
        "prefix": ("class", "distillation", "register"),
        "readout": "class_token",
    }


def test_it_is_a_vit_that_pools_so():
    model, twin = small(), ViT(**SMALL, pooling="distilled", positions="learnable")
    twin.load_state_dict(model.state_dict())
    images = torch.randn(2, 3, 12, 20)
    torch.testing.assert_close(model.eval()(images), twin.eval()(images))
    assert isinstance(build("deit", SMALL), DeiT)
    with pytest.raises(UnknownNameError, match="No argument of deit is called 'pooling'"):
        build("deit", {"pooling": "mean"})


@pytest.mark.parametrize("stem", ["linear", "convolutional"])
def test_a_run_of_it_is_a_specimen_that_can_be_captured_and_explained(tmp_path, stem):
    model = small(stem=stem, layer_scale=0.5)
    save_checkpoint(
        tmp_path,
        model.state_dict(),
        architecture="deit",
        arguments={**SMALL, "stem": stem, "layer_scale": 0.5},
        classes=list("abcdefg"),
        image_size=(12, 20),
        mean=[0.5] * 3,
        std=[0.5] * 3,
        facts={},
    )
    specimen, images = load(f"run:{tmp_path}", device="cpu"), torch.rand(2, 3, 12, 20)
    torch.testing.assert_close(specimen.predict(images), model.eval()((images - 0.5) / 0.5))
    assert specimen.layout == TokenLayout(3, 5, ("class", "distillation"), "class_token")
    assert specimen.target_layer == "blocks.1.norm1"
    assert specimen.facts["readout"] == (
        "mean of the classifier and the distillation head; maps read the class token"
    )
    check_capture(specimen, images)
    record = capture(specimen, images)
    assert record.stack("pattern").shape == (2, 2, 3, 17, 17)
    heat = explain("rollout", record).heatmap
    assert heat.shape == (2, 3, 5) and bool(heat.isfinite().all())
