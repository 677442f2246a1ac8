"""Really trained: each of the spoiled runs is named for what was done to it, and good ones are left in peace."""

import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest
import torch

from archaeology.diagnose import Report, diagnose

HERE = Path(__file__).parent
spec = spec_from_file_location("diagnosed_folders", HERE / "folders.py")
assert spec and spec.loader
folders = module_from_spec(spec)
spec.loader.exec_module(folders)


@pytest.fixture
def images(tmp_path_factory) -> str:
    """The same scenes as a data set on the disk, by name."""
    import numpy as np

    place = tmp_path_factory.mktemp("images") / "scenes.npz"
    pixels, labels = folders.scenes(64, seed=3)
    hwc = (pixels.permute(0, 2, 3, 1) * 255).round().to(torch.uint8).numpy()
    np.savez(place, test_images=hwc, test_labels=labels.numpy())
    return f"npz:{place}"


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ARCHAEOLOGY_CACHE", str(tmp_path / "cache"))
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def names(report: Report) -> list[str]:
    return [diagnosis.name for diagnosis in report.diagnoses]


@torch.no_grad()
def blind_second_layer(model) -> None:
    """No query and no key: all scores alike."""
    features = 2 * folders.VIT["embed_dim"]
    model.blocks[1].attn.qkv.weight[:features] = 0
    model.blocks[1].attn.qkv.bias[:features] = 0


@torch.no_grad()
def mute_a_head(model) -> None:
    """Nobody reads head 1 of the second layer."""
    model.blocks[1].attn.proj.weight[:, 8:16] = 0


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [{}, {"optimizer": "adam", "seed": 1}, {"optimizer": "muon", "learning_rate": 0.02}],
    ids=["adamw", "adam", "muon"],
)
def test_good_runs_have_nothing(options, tmp_path, images):
    report = diagnose(folders.trained(tmp_path / "run", count=10_000, epochs=0.6, **options), data=images)
    assert names(report) == []
    assert len(report.attention) == 2 and "64 images" in report.note


@pytest.mark.slow
def test_a_rate_ten_thousand_times_too_high_diverges(tmp_path, images):
    report = diagnose(folders.trained(tmp_path / "run", learning_rate=30.0, epochs=6), data=images)
    assert "divergence" in names(report)
    (found,) = [diagnosis for diagnosis in report.diagnoses if diagnosis.name == "divergence"]
    assert "learning rate" in found.evidence and "gradient norm" in found.evidence


@pytest.mark.slow
def test_post_norm_without_warmup_is_named_for_both(tmp_path):
    options = {"warmup": 0.0, "learning_rate": 0.02, "arguments": {"norm": "post", "depth": 6}}
    assert {"no_warmup", "post_norm"} <= set(names(diagnose(folders.trained(tmp_path / "run", **options))))


@pytest.mark.slow
def test_uniform_attention_is_named_with_its_layer(tmp_path, images):
    folder = folders.trained(tmp_path / "run", count=10_000, epochs=0.3, spoil=blind_second_layer)
    report = diagnose(folder, data=images)
    assert names(report) == ["uniform_attention"]
    assert "layer 2 (blocks.1.attn)" in report.diagnoses[0].evidence
    assert "log 16 = 2.773" in report.diagnoses[0].evidence


@pytest.mark.slow
def test_a_dead_head_is_named(tmp_path, images):
    folder = folders.trained(tmp_path / "run", count=10_000, epochs=0.3, spoil=mute_a_head)
    report = diagnose(folder, data=images)
    assert names(report) == ["dead_heads"]
    assert report.diagnoses[0].numbers["heads"] == {"blocks.1.attn": [1]}


@pytest.mark.slow
def test_a_tiny_data_set_is_named(tmp_path):
    report = diagnose(folders.trained(tmp_path / "run", count=32, epochs=30))
    assert names(report) == ["overfitting"] and "only 32" in report.diagnoses[0].evidence
    report = diagnose(folders.trained(tmp_path / "short", count=128, epochs=2, learning_rate=0.0005))
    assert names(report) == ["underfitting"]
    assert "only 128 training images" in report.diagnoses[0].evidence


@pytest.mark.slow
def test_a_rate_far_too_low_is_a_plateau(tmp_path):
    (found,) = diagnose(folders.trained(tmp_path / "run", learning_rate=3e-7, epochs=4)).diagnoses
    assert found.name == "plateau" and "3e-07" in found.evidence


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="bounds memory as Linux does")
def test_out_of_memory_names_a_batch_that_fits(tmp_path):
    done = subprocess.run(
        [sys.executable, str(HERE / "oom.py"), str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert (tmp_path / "breaks" / "failure.json").is_file(), done.stderr
    report = diagnose(tmp_path / "breaks")
    assert report.state == "broken" and names(report) == ["out_of_memory"]
    fits = report.diagnoses[0].numbers["batch_size_that_fits"]
    assert 0 < fits < 4096 and f"--batch-size {fits}" in report.diagnoses[0].remedy


@pytest.mark.slow
def test_images_that_are_not_there_leave_attention_out_unless_asked_for(tmp_path, images):
    folder = folders.trained(tmp_path / "run", count=64, epochs=1)
    report = diagnose(folder)
    assert report.attention == () and "names no test images" in report.note
    with pytest.raises((ValueError, OSError)):
        diagnose(folder, data="npz:nowhere.npz")
