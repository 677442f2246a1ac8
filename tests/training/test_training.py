"""The loop, its schedules and optimizers: exact where exactness can be had, golden where it cannot."""

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from archaeology.models import ConvNet, ViT
from archaeology.training.checkpoint import save_checkpoint
from archaeology.training.config import TrainConfig
from archaeology.training.loop import train
from archaeology.training.optimizers import make_optimizer
from archaeology.training.schedule import progress_of, rate_factor, stage_value
from archaeology.training.trackers import JsonLines

FIXED = {"device": "cpu", "dtype": "float32"}


@pytest.mark.parametrize(
    ("text", "expected"), [("90s", 90), ("10m", 600), ("1.5h", 5400), ("45", 45), (7, 7)]
)
def test_budget_is_read_in_the_usual_ways(text, expected):
    assert TrainConfig.model_validate({"budget": text}).budget == expected


def test_budget_that_is_no_duration_says_what_one_looks_like():
    with pytest.raises(ValueError, match=r"a duration must look like 90s, 10m or 1\.5h, but got 'soon'"):
        TrainConfig.model_validate({"budget": "soon"})


def test_unknown_field_is_refused():
    with pytest.raises(ValueError, match="epoch"):
        TrainConfig.model_validate({"epoch": 3})


@given(st.floats(0, 1), st.sampled_from(["linear", "cosine", "constant"]), st.floats(0, 0.9))
@settings(deadline=None, derandomize=True)
def test_rates_stay_between_zero_and_full(progress, schedule, warmup):
    assert 0 <= rate_factor(progress, schedule=schedule, warmup=warmup) <= 1


def test_schedules_rise_and_end_at_zero():
    assert rate_factor(0.05, schedule="linear", warmup=0.1) == 0.5
    assert rate_factor(0.1, schedule="linear", warmup=0.1) == 1
    assert rate_factor(0.55, schedule="linear", warmup=0.1) == pytest.approx(0.5)
    assert rate_factor(0.5, schedule="cosine", warmup=0.0) == pytest.approx(0.5)
    for schedule in ("linear", "cosine"):
        assert rate_factor(1.0, schedule=schedule, warmup=0.1) == pytest.approx(0)
    with pytest.raises(
        ValueError, match="schedule must be one of linear, cosine, constant, one_cycle, but got 'step'"
    ):
        rate_factor(0.5, schedule="step", warmup=0.0)


def test_progress_is_the_further_of_steps_and_clock():
    assert progress_of(5, 10, elapsed=1.0, budget=None) == 0.5
    assert progress_of(5, 10, elapsed=9.0, budget=10.0) == 0.9
    assert progress_of(5, 10, elapsed=99.0, budget=10.0) == 1


def test_stages_hold_until_the_next_begins():
    stages = ((0.0, 0.4), (0.6, 0.7))
    assert [stage_value(p, stages) for p in (0.0, 0.59, 0.6, 1.0)] == [0.4, 0.4, 0.7, 0.7]
    assert stage_value(0.5, ()) == 1


def test_muon_takes_the_inner_matrices_and_adamw_the_rest():
    model = ViT(12, 4, 7, embed_dim=24, depth=2, num_heads=3)
    optimizer = make_optimizer(model, TrainConfig())
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    inner = {names[id(p)] for p in optimizer.param_groups[0]["params"]}
    assert inner == {
        f"blocks.{i}.{name}.weight" for i in (0, 1) for name in ("attn.qkv", "attn.proj", "mlp.0", "mlp.2")
    }
    other = {names[id(p)] for group in optimizer.param_groups[1:] for p in group["params"]}
    assert other == {name for name, parameter in model.named_parameters() if parameter.numel()} - inner
    assert {"patch_embed.weight", "head.weight"} <= other


def test_frozen_weights_are_left_out():
    model = ConvNet(17, 5, widths=(8, 8))
    optimizer = make_optimizer(model, TrainConfig())
    listed = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    assert id(model.whiten.weight) not in listed
    assert len(listed) == sum(parameter.requires_grad for parameter in model.parameters())


class Recorder:
    def __init__(self):
        self.rows = []

    def log(self, step, numbers):
        self.rows.append((step, dict(numbers)))

    def close(self):
        pass


def learnable(count=64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 3, (count,), generator=generator)
    images = 0.3 * torch.randn(count, 3, 12, 12, generator=generator)
    images[torch.arange(count), labels] += 1
    return images, labels


def train_small(**changes):
    torch.manual_seed(0)
    model = ViT(12, 4, 3, embed_dim=24, depth=1, num_heads=3)
    images, labels = learnable()
    recorder = Recorder()
    config = TrainConfig(**{"epochs": 10, "batch_size": 32, **FIXED, **changes})
    result = train(
        model,
        lambda epoch: zip(images.split(32), labels.split(32), strict=True),
        2,
        config,
        trackers=[recorder],
    )
    return model, result, recorder, images, labels


@pytest.mark.parametrize("optimizer", ["muon", "adamw"])
def test_it_learns_what_can_be_learnt(optimizer):
    model, result, recorder, images, labels = train_small(optimizer=optimizer, learning_rate=0.02)
    assert result.steps == 20 and result.images == 640
    assert float((model.eval()(images).argmax(1) == labels).float().mean()) == 1.0
    assert recorder.rows[-1][0] == 20


def test_twenty_steps_end_where_they_always_ended():
    _, result, _, _, _ = train_small(label_smoothing=0.0, weight_decay=0.0)
    again = train_small(label_smoothing=0.0, weight_decay=0.0)[1]
    assert result.final_loss == again.final_loss
    assert result.final_loss == pytest.approx(GOLDEN_LOSS, rel=5e-2)


GOLDEN_LOSS = 0.8725  # this file, torch 2.15, CPU, float32


def test_budget_ends_the_training_early():
    _, result, _, _, _ = train_small(epochs=100_000, budget=0.3)
    assert 0 < result.steps < 100_000
    assert result.seconds < 5


def test_non_finite_loss_stops_and_says_where():
    model = nn.Linear(2, 2)
    batches = [(torch.full((4, 2), float("nan")), torch.zeros(4, dtype=torch.long))]
    with pytest.raises(FloatingPointError, match="loss must stay finite, but is nan at step 1"):
        train(model, lambda epoch: batches, 1, TrainConfig(epochs=1, **FIXED))


def test_progress_and_epochs_are_told():
    told, epochs = [], []
    images, labels = learnable(8)
    model = ViT(12, 4, 3, embed_dim=12, depth=1, num_heads=3)
    train(
        model,
        lambda epoch: [(images, labels)] * 2,
        2,
        TrainConfig(epochs=2, **FIXED),
        on_progress=told.append,
        on_epoch=lambda epoch: epochs.append(epoch) or {},
    )
    assert told == [0.0, 0.25, 0.5, 0.75]
    assert epochs == [0, 1]


def test_json_lines_hold_every_number_and_null_for_nan(tmp_path):
    tracker = JsonLines(tmp_path / "deep" / "metrics.jsonl")
    tracker.log(3, {"loss": 1.5, "accuracy": float("nan")})
    tracker.log(4, {"loss": 1.0})
    lines = [json.loads(line) for line in (tmp_path / "deep" / "metrics.jsonl").read_text().splitlines()]
    tracker.close()
    assert lines == [{"step": 3, "loss": 1.5, "accuracy": None}, {"step": 4, "loss": 1.0}]


def test_checkpoint_holds_tensors_config_and_card(tmp_path):
    model = ConvNet(17, 2, widths=(8,))
    save_checkpoint(
        tmp_path / "run",
        model.state_dict(),
        architecture="convnet",
        arguments={"image_size": 17, "num_classes": 2, "widths": (8,)},
        classes=["cat", "dog"],
        image_size=(17, 17),
        mean=(0.5, 0.5, 0.5),
        std=(0.25, 0.25, 0.25),
        facts={"recipe": "tiny", "test_accuracy": {"value": 0.5, "low": 0.4, "high": 0.6, "n": 100}},
        weights="bfloat16",
    )
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert (
        config["format"] == 1 and config["classes"] == ["cat", "dog"] and config["arguments"]["widths"] == [8]
    )
    card = (tmp_path / "run" / "README.md").read_text()
    assert "0.5000 (95 % interval 0.4000 to 0.6000, n = 100)" in card and "# tiny" in card
    from safetensors.torch import load_file

    saved = load_file(tmp_path / "run" / "model.safetensors")
    assert saved["head.weight"].dtype == torch.bfloat16
    assert saved["groups.0.norm1.num_batches_tracked"].dtype == torch.int64
    assert set(saved) == set(model.state_dict())
