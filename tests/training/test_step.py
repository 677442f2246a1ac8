"""One step, taken apart: parts of a batch, clipping, averages, precision, schedules, layers, memory."""

import json
import math

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from tests.training.specimens import tiny_model, tiny_training
from torch import nn

from archaeology.core.errors import NonFiniteLossError, OutOfMemoryError
from archaeology.models import ViT
from archaeology.training.config import TrainConfig
from archaeology.training.ema import Average
from archaeology.training.layers import block_of, layer_numbers
from archaeology.training.loop import train
from archaeology.training.memory import (
    StepMemory,
    available_bytes,
    checkpoint_blocks,
    step_memory,
)
from archaeology.training.optimizers import make_optimizer
from archaeology.training.runtime import Runtime, wrap
from archaeology.training.schedule import END, PEAK, START, rate_factor
from archaeology.training.step import Stepper, chunks, floats

CPU = torch.device("cpu")
ALONE = Runtime(CPU)


def batch(count=8, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 3, 12, 12, generator=generator), torch.randint(
        0, 3, (count,), generator=generator
    )


def stepper(model, dtype=torch.float32, objective=F.cross_entropy, **options):
    config = TrainConfig(**{"optimizer": "adamw", "learning_rate": 1e-3, "device": "cpu", **options})
    return Stepper(model, wrap(model, ALONE, "ddp"), make_optimizer(model, config), objective, config, dtype)


def gradients(model):
    return {name: one.grad.clone() for name, one in model.named_parameters() if one.numel()}


@pytest.mark.parametrize("parts", [2, 4, 8])
def test_parts_of_a_batch_give_the_gradient_of_the_whole(parts):
    images, labels = batch()
    whole, split = tiny_model(), tiny_model()
    loss, norm = stepper(whole)(images, labels)
    loss_of_parts, norm_of_parts = stepper(split, accumulate=parts)(images, labels)
    assert float(loss_of_parts) == pytest.approx(float(loss), rel=1e-5)
    assert float(norm_of_parts) == pytest.approx(float(norm), rel=1e-4)
    for name, gradient in gradients(whole).items():
        torch.testing.assert_close(gradients(split)[name], gradient, rtol=1e-4, atol=1e-6)


def test_the_norm_is_that_of_all_gradients_and_clipping_scales_them():
    images, labels = batch()
    model = tiny_model()
    _, norm = stepper(model, clip=1e-3)(images, labels)
    plain = tiny_model()
    F.cross_entropy(plain(images), labels).backward()
    expected = math.sqrt(
        sum(float(gradient.double().square().sum()) for gradient in gradients(plain).values())
    )
    assert float(norm) == pytest.approx(expected, rel=1e-5)
    left = math.sqrt(sum(float(gradient.double().square().sum()) for gradient in gradients(model).values()))
    assert left == pytest.approx(1e-3, rel=1e-3)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_low_precision_steps_nearly_as_float32(dtype):
    images, labels = batch()
    exact, low = tiny_model(), tiny_model()
    exact.head.weight.data.normal_(generator=torch.Generator().manual_seed(1))
    low.load_state_dict(exact.state_dict())
    _, norm = stepper(exact)(images, labels)
    made = stepper(low, dtype)
    low_norm = torch.zeros(())
    while not low_norm:  # the scaler starts too high, and skips steps until it is low enough
        _, low_norm = made(images, labels)
    assert float(low_norm) == pytest.approx(float(norm), rel=0.03)  # unscaled again where there is a scaler
    assert made.scaler.is_enabled() == (dtype == torch.float16)
    assert all(parameter.dtype == torch.float32 for parameter in low.parameters())


def test_float16_skips_a_step_that_overflows_and_lowers_its_scale():
    model = nn.Linear(2, 2)
    before = model.weight.clone()
    made = stepper(model, torch.float16, objective=lambda said, _: said.sum() * 1e38)
    scale = made.scaler.get_scale()
    made(torch.ones(4, 2), torch.zeros(4))
    assert torch.equal(model.weight, before) and made.scaler.get_scale() < scale


def test_several_answers_and_several_targets_go_through():
    pair = (torch.arange(4), torch.arange(8).reshape(4, 2))
    first, second = chunks(pair, 2)
    assert first[0].tolist() == [0, 1] and second[1].tolist() == [[4, 5], [6, 7]]
    assert floats((torch.zeros(1, dtype=torch.bfloat16),))[0].dtype == torch.float32


def test_the_average_follows_the_formula_and_takes_over():
    model = nn.Linear(1, 1, bias=False)
    average, expected = Average(model, 0.9), model.weight.item()
    for step in range(1, 40):
        model.weight.data.fill_(step)
        average.update()
        kept = min(0.9, (1 + step) / (10 + step))
        expected = kept * expected + (1 - kept) * step
    assert average.weights["weight"].item() == pytest.approx(expected, rel=1e-5)
    with average.in_place():
        assert model.weight.item() == pytest.approx(expected, rel=1e-5)
    assert model.weight.item() == 39 and average.weights["weight"].item() == pytest.approx(expected, rel=1e-5)
    average.take_over()
    assert model.weight.item() == pytest.approx(expected, rel=1e-5)


def test_a_training_with_an_average_ends_with_it():
    plain, _ = tiny_training(None, ALONE)
    averaged, _ = tiny_training(None, ALONE, ema=0.5)
    assert not torch.equal(plain.norm.bias, averaged.norm.bias)


def test_one_cycle_rises_from_a_25th_to_the_full_rate_and_falls_to_nearly_nothing():
    rates = [rate_factor(step / 1000, schedule="one_cycle", warmup=0.5) for step in range(1001)]
    assert (
        rates[0] == pytest.approx(START)
        and rates[-1] == pytest.approx(END)
        and max(rates) == rates[int(1000 * PEAK)] == 1
    )
    peak = int(1000 * PEAK)
    assert rates[:peak] == sorted(rates[:peak]) and rates[peak:] == sorted(rates[peak:], reverse=True)
    assert rates[peak // 2] == pytest.approx((START + 1) / 2, abs=1e-3)


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_rates_fall_from_block_to_block_towards_the_image(name):
    model = tiny_model()
    optimizer = make_optimizer(model, TrainConfig(optimizer=name, layer_decay=0.5, learning_rate=0.1))
    rates = {id(one): group["full_lr"] for group in optimizer.param_groups for one in group["params"]}
    rate = {key: rates[id(one)] for key, one in model.named_parameters() if one.numel()}
    assert rate["blocks.0.attn.qkv.weight"] == pytest.approx(0.1 * 0.5**2)
    assert rate["blocks.1.attn.qkv.weight"] == pytest.approx(0.1 * 0.5)
    assert rate["patch_embed.weight"] == pytest.approx(rate["head.weight"] * 0.5**3)


@pytest.mark.parametrize(
    ("name", "block"),
    [
        ("blocks.3.mlp.0.weight", "blocks.3"),
        ("vit.encoder.layer.11.output.dense.bias", "vit.encoder.layer.11"),
        ("layers.1.blocks.0.norm1.weight", "layers.1.blocks.0"),
        ("stages.2.merge.norm.weight", "stages.2"),
        ("patch_embed.weight", None),
        ("head.weight", None),
    ],
)
def test_blocks_are_found_by_the_names_that_libraries_use(name, block):
    assert block_of(name) == block


def test_what_comes_before_the_blocks_is_0_and_what_comes_after_is_last():
    names = ["cls", "patch.weight", "blocks.0.a", "blocks.0.b", "blocks.1.a", "norm.weight", "head.weight"]
    assert list(layer_numbers(names).values()) == [0, 0, 1, 1, 2, 3, 3]
    assert set(layer_numbers(["a", "b"]).values()) == {0}


def test_recomputed_blocks_change_nothing_but_memory():
    images, labels = batch()
    plain, frugal = tiny_model(), tiny_model()
    checkpoint_blocks(frugal, ["blocks.0", "blocks.1"])
    for model in (plain, frugal):
        stepper(model)(images, labels)
    for name, gradient in gradients(plain).items():
        assert torch.equal(gradients(frugal)[name], gradient)
    assert list(frugal.state_dict()) == list(plain.state_dict())
    needed = [step_memory(model, images, torch.float32, "adamw").bytes_per_image for model in (plain, frugal)]
    assert needed[1] < 0.5 * needed[0]
    with pytest.raises(
        ValueError, match="--checkpoint-blocks needs a model made of blocks, but Linear has none"
    ):
        checkpoint_blocks(nn.Linear(1, 1), [])


def test_memory_of_a_step_is_counted_by_hand_for_a_linear_layer():
    model = nn.Sequential(nn.Linear(100, 50), nn.ReLU(), nn.Linear(50, 10))
    found = step_memory(model, torch.randn(2, 100), torch.float32, "adamw")
    kept = 4 * (100 + 50)  # the input and the output of the ReLU, which are all that the backward pass needs
    assert found.bytes_per_image == kept
    assert found.fixed_bytes >= 4 * 4 * sum(parameter.numel() for parameter in model.parameters())
    assert StepMemory(1000, 10).batch_size_that_fits(10_000) == 512  # (0.8 x 10,000 - 1,000) / 10 = 700
    assert StepMemory(1000, 10).batch_size_that_fits(1000) == 0


def test_available_memory_is_plausible():
    assert 2**20 < available_bytes(CPU) < 2**50


def test_a_step_that_does_not_fit_says_which_batch_would(tmp_path):
    class Greedy(ViT):
        def forward(self, images):
            if len(images) > 4:
                raise torch.OutOfMemoryError("out of memory")
            return super().forward(images)

    model, (images, labels) = Greedy(12, 4, 3, embed_dim=24, depth=1, num_heads=3), batch(16)
    config = TrainConfig(epochs=1, batch_size=16, device="cpu", dtype="float32")
    with pytest.raises(OutOfMemoryError, match="A step must fit into memory, but one of 16 images did not"):
        train(model, lambda _: [(images, labels)], 1, config, folder=tmp_path)
    told = json.loads((tmp_path / "failure.json").read_text())
    assert told["kind"] == "out_of_memory" and told["batch_size"] == 16 and told["bytes_per_image"] > 0
    assert told["config"]["batch_size"] == 16


def test_a_loss_that_is_not_finite_leaves_the_batch_behind(tmp_path):
    images, labels = batch()
    images[3, 0, 0, 0] = float("nan")
    config = TrainConfig(epochs=1, batch_size=8, device="cpu", dtype="float32")
    with pytest.raises(NonFiniteLossError, match="loss must stay finite, but is nan at step 1"):
        train(tiny_model(), lambda _: [(images, labels)], 1, config, folder=tmp_path)
    told = json.loads((tmp_path / "failure.json").read_text())
    assert told["kind"] == "non_finite" and told["step"] == 1 and told["learning_rate"] is not None
    kept = load_file(tmp_path / "failed_batch.safetensors")
    assert torch.equal(kept["images"].isnan(), images.isnan()) and torch.equal(kept["targets_0"], labels)


def test_accumulation_must_divide_the_batch():
    with pytest.raises(ValueError, match="accumulate must divide batch_size"):
        TrainConfig(batch_size=10, accumulate=3)
    with pytest.raises(
        ValueError, match="freeze must be none, backbone or blocks:N with N >= 1, but got 'blocks:0'"
    ):
        TrainConfig(freeze="blocks:0")
