"""The end of a model run alone says what the whole model says, and the model is whole again afterwards."""

from functools import partial

import pytest
import torch
from tests.ablate import small_models as small
from torch import nn

from archaeology.capture.suffix import one_token_end, only_from, remembered, shared_beginning, units_of

MAKES = {"timm": small.timm_vit, "torchvision": small.torchvision_vit, "swin": small.swin}


def looked_at(make):
    specimen = MAKES[make]()
    given = specimen.prepare(small.images(3, *specimen.image_size))
    return specimen.model, given, units_of(specimen.model, lambda: specimen.model(given[:2]))


@pytest.mark.parametrize("make", MAKES)
@torch.no_grad()
def test_suffix_from_every_unit_repeats_the_whole_for_every_copy(make):
    model, given, units = looked_at(make)
    assert len(units) >= 2
    with remembered(model, units) as outputs:
        whole = model(given)
    for layer, unit in enumerate(units):
        with only_from(model, units[layer:], outputs, num_images=3, copies=5):
            many = model(given)
            with shared_beginning(model, unit, 5):
                short = model(given)
        torch.testing.assert_close(many, whole.repeat(5, 1), rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(short, whole.repeat(5, 1), rtol=1e-4, atol=1e-4)
    assert_whole(model, given, whole)


def counted(forward, batches, tokens):
    batches.append(len(tokens))
    return forward(tokens)


@torch.no_grad()
def test_earlier_blocks_do_not_run_and_a_shared_beginning_sees_one_copy():
    model, given, units = looked_at("timm")
    with remembered(model, units) as outputs:
        model(given)
    batches = {0: [], 1: [], 2: []}
    for number, block in enumerate(model.blocks):
        inner = nn.Sequential(block.attn.qkv)
        inner.forward = partial(counted, inner.forward, batches[number])
        block.attn.qkv = inner
    with (
        only_from(model, units[1:], outputs, num_images=3, copies=5),
        shared_beginning(model, units[1], 5),
    ):
        model(given)
    assert batches == {0: [], 1: [3], 2: [15]}


@torch.no_grad()
def test_units_are_the_blocks_with_what_is_before_and_after_their_attention():
    units = looked_at("timm")[2]
    assert [unit.path for unit in units] == ["blocks.0", "blocks.1", "blocks.2"]
    assert units[0].earlier == ("patch_embed",)
    assert units[2].earlier == ("patch_embed", "blocks.0", "blocks.1")
    assert units[1].before == ("blocks.1.norm1", "blocks.1.attn.qkv")
    assert units[1].after == ("blocks.1.attn.proj", "blocks.1.norm2", "blocks.1.mlp")
    assert units[1].num_queries == 7
    looped = small.specimen(small.Looped())
    given = looped.prepare(small.images(2))
    assert units_of(looped.model, lambda: looped.model(given)) == ()


@pytest.mark.parametrize("make", ["timm", "torchvision"])
@torch.no_grad()
def test_end_for_one_token_gives_the_same_logits_for_less(make):
    model, given, units = looked_at(make)
    whole = model(given)
    tokens = []
    inner = model.get_submodule(next(path for path in units[-1].after if path.endswith("mlp")))
    with one_token_end(model, units[-1], 0):
        handle = inner.register_forward_hook(lambda module, inputs, output: tokens.append(output.shape[1]))
        torch.testing.assert_close(model(given), whole, rtol=1e-5, atol=1e-5)
        handle.remove()
    assert tokens == [1]
    assert_whole(model, given, whole)


def assert_whole(model, given, whole):
    assert all("forward" not in module.__dict__ and not module._forward_hooks for module in model.modules())
    torch.testing.assert_close(model(given), whole, rtol=0, atol=0)


@torch.no_grad()
def test_model_is_whole_again_after_an_exception():
    model, given, units = looked_at("timm")
    with remembered(model, units) as outputs:
        whole = model(given)

    def fail(*_):
        raise KeyboardInterrupt

    handle = model.blocks[2].mlp.register_forward_pre_hook(fail)
    with (
        pytest.raises(KeyboardInterrupt),
        only_from(model, units[1:], outputs, num_images=3, copies=2),
        shared_beginning(model, units[1], 2),
        one_token_end(model, units[2], 0),
    ):
        model(given)
    handle.remove()
    assert_whole(model, given, whole)
