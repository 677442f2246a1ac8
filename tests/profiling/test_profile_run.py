"""A profile from start to end with small models: rows, going on after a stop, skips, refusals, memory in a child."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from archaeology.core.errors import UnknownNameError
from archaeology.core.memory import RETURNING, can_measure_memory
from archaeology.profiling import memory, memory_child
from archaeology.profiling import run as module
from archaeology.profiling.config import ProfileConfig
from archaeology.profiling.directory import ProfileRun
from archaeology.profiling.limits import Known
from archaeology.profiling.measurements import Measurements
from archaeology.profiling.memory import Peak, peaks_in_child
from archaeology.profiling.run import measure_profile
from archaeology.profiling.subject import Subject, built, normalised_images, random_spec, subjects
from archaeology.profiling.summary import names_of
from archaeology.specimens.specimen import Specimen

TINY = "timm:test_vit"
TINIER = "timm:test_resnet"


@pytest.fixture
def no_child(monkeypatch):
    """Without starting the process that measures memory: half a mebibyte and two for each image."""

    def peaks(subject, batches, config):
        return [Peak(batch, 0.5 + 2.0 * batch) for batch in batches]

    monkeypatch.setattr(module, "peaks_in_child", peaks)
    monkeypatch.setattr(module, "can_measure_memory", lambda: True)


@pytest.fixture
def config(tmp_path):
    return ProfileConfig(
        specimens=(TINY, TINIER),
        image_sizes=(32,),
        batch_sizes=(1, 3),
        rounds=3,
        device="cpu",
        tune_allocation=False,
        out=tmp_path / "profile",
    )


def test_every_number_asked_for_is_there(config, no_child):
    run = measure_profile(config)
    assert [profile.name for profile in run.profiles] == ["test_vit", "test_resnet"]
    rows = list(Measurements(config.out / "measurements.parquet"))
    for profile in run.profiles:
        assert profile.image_size == (32, 32) and profile.flops > 0
        for cost in profile.costs:
            seconds = [
                row.value
                for row in rows
                if (row.subject, row.batch, row.quantity)
                == (f"{profile.spec} pixels=32", cost.batch, "seconds")
            ]
            assert len(seconds) == 3 == cost.rounds
            assert cost.milliseconds == pytest.approx(1e3 * float(np.median(seconds)))
            assert cost.low == pytest.approx(1e3 * (0.8 * min(seconds) + 0.2 * float(np.median(seconds))))
            assert cost.images_per_second == pytest.approx(1e3 * cost.batch / cost.milliseconds)
            assert cost.mebibytes == 0.5 + 2 * cost.batch
    document = json.loads((config.out / "profile.json").read_text())
    assert document["status"] == "complete" and document["skipped"] == []
    assert document["provenance"]["versions"]["torch"]
    assert "1 thread, float32, wall time" in run.setting


def test_after_a_stop_only_the_rest_is_measured(config, no_child, monkeypatch):
    forward, timed = module.forward, []

    def stopping(model, images):
        timed.append(len(images))
        if len(timed) == 6:
            raise KeyboardInterrupt
        forward(model, images)

    monkeypatch.setattr(module, "forward", stopping)
    with pytest.raises(KeyboardInterrupt):
        measure_profile(config)
    kept = list(Measurements(config.out / "measurements.parquet"))
    assert (
        sum(row.quantity == "seconds" for row in kept) == 2
    )  # two passes were to warm up, one round is whole
    with pytest.raises(ValueError, match=r"holds no profile\.json"):
        ProfileRun(config.out)
    timed.clear()
    monkeypatch.setattr(
        module, "forward", lambda model, images: timed.append(len(images)) or forward(model, images)
    )
    measure_profile(config)
    rows = list(Measurements(config.out / "measurements.parquet"))
    assert rows[: len(kept)] == kept
    assert (
        len({(row.subject, row.batch, row.quantity, row.repeat) for row in rows})
        == len(rows)
        == 2 * 2 * (3 + 1)
    )
    assert len(timed) == 2 * 2 * (1 + 3) - 2
    timed.clear()
    measure_profile(config)
    assert timed == []


def test_specimens_are_timed_in_turn(config, no_child, monkeypatch):
    forward, order = module.forward, []
    monkeypatch.setattr(
        module, "forward", lambda model, images: order.append(type(model).__name__) or forward(model, images)
    )
    measure_profile(config.model_copy(update={"batch_sizes": (2,)}))
    assert order == ["VisionTransformer", "ResNet"] * 4


def test_a_batch_that_takes_too_long_or_does_not_fit_is_left_out_by_name(config, monkeypatch, capsys):
    too_big = Peak(
        3, None, "a batch of 3 would need about 9.0 of 1.0 GiB of memory; --batch-sizes up to 1 fit"
    )
    monkeypatch.setattr(module, "can_measure_memory", lambda: True)
    monkeypatch.setattr(module, "peaks_in_child", lambda *_: [Peak(1, 1.0), too_big])
    run = measure_profile(config)
    assert [[cost.batch for cost in profile.costs] for profile in run.profiles] == [[1], [1]]
    assert {skip["batch"] for skip in run.run["skipped"]} == {3}
    said = capsys.readouterr().err
    assert f"{TINY} pixels=32 is skipped: a batch of 3 would need about 9.0 of 1.0 GiB" in said
    impatient = config.model_copy(update={"patience": 1e-9, "out": config.out.with_name("impatient")})
    monkeypatch.setattr(module, "can_measure_memory", lambda: False)
    run = measure_profile(impatient)
    assert [[cost.batch for cost in profile.costs] for profile in run.profiles] == [[1], [1]]
    assert "more than --patience 1e-09" in capsys.readouterr().err


def test_a_folder_measured_in_another_way_or_of_something_else_is_refused(config, no_child, tmp_path):
    measure_profile(config.model_copy(update={"batch_sizes": (1,)}))
    with pytest.raises(ValueError, match="threads was 1 and is 2; give another --out"):
        measure_profile(config.model_copy(update={"threads": 2}))
    (tmp_path / "else").mkdir()
    (tmp_path / "else" / "letter.txt").write_text("dear")
    with pytest.raises(ValueError, match="must be a new folder or one of an earlier profile"):
        measure_profile(config.model_copy(update={"out": tmp_path / "else"}))
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        ProfileRun(tmp_path / "nowhere")
    document = json.loads((config.out / "profile.json").read_text())
    (config.out / "profile.json").write_text(json.dumps(document | {"schema_version": 0}))
    with pytest.raises(ValueError, match=r"reads profiles of schema version 1, but .* has 0"):
        ProfileRun(config.out)


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (Subject("timm:resnet18"), "timm:resnet18?pretrained=false"),
        (Subject("timm:resnet18", 64), "timm:resnet18?img_size=64&pretrained=false"),
        (
            Subject("timm:vit_t?depth=2", 64, 8),
            "timm:vit_t?depth=2&img_size=64&patch_size=8&pretrained=false",
        ),
        (Subject("timm:resnet18?pretrained=true"), "timm:resnet18?pretrained=true"),
        (Subject("hf:folder"), "hf:folder?pretrained=false"),
        (Subject("run:folder"), "run:folder"),
    ],
)
def test_weights_are_random_unless_the_spec_says_otherwise(given, wanted):
    assert random_spec(given) == wanted


@pytest.mark.parametrize(
    ("subject", "error", "said"),
    [
        (Subject("timm:resnet5"), UnknownNameError, "did you mean"),
        (Subject("resnet50"), UnknownNameError, "did you mean 'timm:resnet50'"),
        (Subject("run:folder", 64), ValueError, "trained for images and patches of one size"),
        (
            Subject("timm:vit_tiny_patch16_224", 64, 7),
            ValueError,
            "patch_sizes must divide the image size, but got 7",
        ),
        (Subject("timm:resnet18", None, 8), ValueError, "cannot be built"),
        (Subject("vit", 32, 5), ValueError, "patch_size must divide image_size"),
        (Subject("convnet", 32, 4), UnknownNameError, "No argument of convnet is called 'patch_size'"),
    ],
)
def test_what_cannot_be_built_is_told(subject, error, said):
    with pytest.raises(error, match=said):
        built(subject, ProfileConfig(device="cpu"))


def test_what_is_asked_for():
    assert [s.spec for s in subjects(ProfileConfig())][-1] == "timm:resnet50"
    only = subjects(ProfileConfig(patch_sizes=(8, 16), patch_model="vit", image_sizes=(32,)))
    assert only == [Subject("vit", 32, 8), Subject("vit", 32, 16)]
    both = subjects(ProfileConfig(specimens=("a:b", "a:b", "c:d"), image_sizes=(32, 64)))
    assert [subject.key for subject in both] == [
        "a:b pixels=32",
        "a:b pixels=64",
        "c:d pixels=32",
        "c:d pixels=64",
    ]


def test_names_are_short_and_their_own():
    listed = [
        Subject("timm:resnet50"),
        Subject("torchvision:resnet50?pretrained=false"),
        Subject("timm:vit_x", 32),
        Subject("timm:vit_x", 64),
        Subject("vit", 32, 4),
    ]

    def sized(side):
        return Specimen("any", nn.Identity(), "other", (), image_size=(side, side))

    names = names_of(listed, {subject: sized(subject.image_size or 224) for subject in listed})
    assert list(names.values()) == [
        "timm:resnet50",
        "torchvision:resnet50",
        "vit_x, 32 pixels",
        "vit_x, 64 pixels",
        "vit, patch 4",
    ]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"batch_sizes": (4, 2)}, "whole numbers from 1 on that grow"),
        ({"batch_sizes": (0, 2)}, "whole numbers from 1 on that grow"),
        ({"batch_sizes": ()}, "at least one size"),
        ({"patch_sizes": (4, 8), "image_sizes": (32, 64)}, "compared on one image size"),
        ({"clock": "cpu", "device": "cuda"}, "does not see the work of device cuda"),
        ({"rounds": 1}, "greater than or equal to 2"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, said):
    with pytest.raises(ValueError, match=said):
        ProfileConfig(**options)


def test_dtype_reaches_the_weights():
    specimen = built(Subject(TINY), ProfileConfig(device="cpu", dtype="bfloat16"))
    assert specimen.dtype == torch.bfloat16 == normalised_images(specimen, 2, 0).dtype


def test_memory_of_large_batches_goes_on_from_one_image_and_two(monkeypatch):
    specimen = Specimen("any", nn.Identity(), "other", (), image_size=(256, 256))  # 0.75 MiB an image
    monkeypatch.setattr(
        memory_child, "peak", lambda specimen, batch, seed, clock: (5.0 + 3.0 * batch, 0.25 * batch)
    )
    config = ProfileConfig(device="cpu")
    known = memory_child.probed(specimen, config, 64)
    assert (known.seconds, known.mebibytes, known.fixed_mebibytes) == (0.25, 3.75, 4.25)
    assert memory_child.probed(specimen, config, 2) == Known(0.25, 0.0, 8.0)


HOLDS_TWO = """
import torch
from archaeology.profiling.memory_child import peak
from archaeology.specimens.specimen import Specimen

class HoldsTwo(torch.nn.Module):
    def forward(self, images):
        first = torch.ones(len(images), 24 * 2**18)  # 24 MiB for each image
        second = first + 1
        del first
        return (second * 2)[:, :5]

specimen = Specimen("d", HoldsTwo(), "other", (), image_size=(8, 8))
peak(specimen, 1, 0)
print(peak(specimen, 1, 0)[0], peak(specimen, 3, 0)[0])
"""


@pytest.mark.slow
@pytest.mark.skipif(not can_measure_memory(), reason="needs the kernel's high-water mark")
def test_a_peak_is_what_is_held_at_once():
    done = subprocess.run(
        [sys.executable, "-c", HOLDS_TWO],
        env=os.environ | RETURNING,
        capture_output=True,
        text=True,
        check=True,
    )
    alone, three = map(float, done.stdout.split())
    assert alone == pytest.approx(48, abs=2) and three == pytest.approx(144, abs=2)


@pytest.mark.slow
@pytest.mark.skipif(not can_measure_memory(), reason="needs the kernel's high-water mark")
def test_the_child_answers_and_refuses_what_does_not_fit():
    config = ProfileConfig(device="cpu", patience=60)
    small, huge = peaks_in_child(Subject(TINY), [1, 10**8], config)
    assert small.mebibytes is not None and small.mebibytes < 200 and small.reason == ""
    assert huge.mebibytes is None and huge.reason.startswith("a batch of 100,000,000 would ")


def test_a_child_that_dies_is_told(monkeypatch):
    def killed(*words, **options):
        first = json.dumps({"batch": 1, "mebibytes": 3.5, "reason": ""})
        return subprocess.CompletedProcess(words, -9, stdout=first + "\n")

    monkeypatch.setattr(memory.subprocess, "run", killed)
    alive, lost = peaks_in_child(Subject(TINY), [1, 64], ProfileConfig(device="cpu"))
    assert alive == Peak(1, 3.5)
    assert (
        lost.mebibytes is None and "ended with code -9; probably there was too little memory" in lost.reason
    )

    def late(*words, **options):
        raise subprocess.TimeoutExpired(words, 1.0, output=b"")

    monkeypatch.setattr(memory.subprocess, "run", late)
    (lost,) = peaks_in_child(Subject(TINY), [1], ProfileConfig(device="cpu"))
    assert "did not answer in time" in lost.reason


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_tells_its_own_peak(tmp_path):
    config = ProfileConfig(
        specimens=(TINY,), batch_sizes=(1, 8), rounds=2, device="cuda", out=tmp_path / "gpu"
    )
    (profile,) = measure_profile(config).profiles
    small, large = profile.costs
    assert small.mebibytes is not None and large.mebibytes is not None
    assert 0 < small.mebibytes < large.mebibytes
