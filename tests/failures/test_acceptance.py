"""The promise: trained on faulty data, the first cause that the report names is the fault; on clean data none."""

import numpy as np
import pytest
import torch

import archaeology as arc
from archaeology.core.storage import sha256_of
from archaeology.data.source import Sample
from archaeology.data.worlds.shapes2d import Shapes2D
from archaeology.data.worlds.shapes2d_drawing import KINDS
from archaeology.failures.planted import plant
from archaeology.models import build
from archaeology.report.content import report_of
from archaeology.report.markdown import markdown
from archaeology.training.checkpoint import save_checkpoint
from archaeology.training.config import TrainConfig
from archaeology.training.loop import train

SIDE, TARGET = 32, 1
MODELS = {
    "vit": {
        "image_size": SIDE,
        "patch_size": 8,
        "num_classes": 4,
        "embed_dim": 48,
        "depth": 2,
        "num_heads": 2,
    },
    "convnet": {"image_size": SIDE, "num_classes": 4, "widths": (12, 24)},
}
EPOCHS = {"vit": 8, "convnet": 3}
QUICK = {"judge_images": 0, "pruning_images": 0, "robustness_images": 0, "ablation_images": 4}
QUICK |= {"images": 800, "layer_images": 2, "pair_images": 2, "threads": 1, "batch_size": 100}


class Scenes:
    """One shape on a dark ground, to be named by its kind, with a fault in it."""

    name, split, classes = "faulty shapes", "test", KINDS

    def __init__(self, fault, *, seed, count):
        scenes = Shapes2D(seed=seed, size=SIDE, num_shapes=(1, 1), radii=(7.0, 12.0)).generate(0, count)
        made = plant(
            fault, scenes.input.numpy(), scenes.kind[:, 0].numpy().astype(np.int64), target=TARGET, seed=seed
        )
        self.images, self.truth = torch.from_numpy(made.images), torch.from_numpy(made.labels)
        self.fingerprint = sha256_of(made.images.tobytes(), made.labels.tobytes())

    def __len__(self):
        return len(self.truth)

    def image_id(self, index):
        return f"scene-{index:04d}"

    def labels(self):
        return self.truth.tolist()

    def get(self, index):
        return Sample(self.images[index], int(self.truth[index]))


def trained(architecture, scenes, folder):
    """A checkpoint of a small model that has learned these scenes."""
    torch.manual_seed(0)
    model = build(architecture, MODELS[architecture])
    config = TrainConfig(
        epochs=EPOCHS[architecture], batch_size=100, device="cpu", threads=1, label_smoothing=0
    )

    def batches(epoch):
        order = torch.randperm(len(scenes), generator=torch.Generator().manual_seed(epoch))
        for rows in order.split(config.batch_size):
            yield (scenes.images[rows].float() / 255 - 0.5) / 0.25, scenes.truth[rows]

    train(model, batches, len(scenes) // config.batch_size, config)
    known = {
        "classes": KINDS,
        "image_size": (SIDE, SIDE),
        "mean": (0.5,) * 3,
        "std": (0.25,) * 3,
        "facts": {},
    }
    save_checkpoint(
        folder, model.state_dict(), architecture=architecture, arguments=MODELS[architecture], **known
    )
    return f"run:{folder}"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "first"),
    [
        ("bright_class", "knows hollow circle by its brightness"),
        ("watermark", "knows hollow circle by a mark at columns 1 to 6, rows 1 to 6"),
        ("wrong_labels", "of 100 labels are wrong"),
        ("nothing", None),
    ],
)
def test_the_planted_cause_is_named_first_in_the_report(fault, first, tmp_path, monkeypatch):
    monkeypatch.setenv("ARCHAEOLOGY_CACHE", str(tmp_path / "cache"))
    learned = Scenes(fault, seed=1, count=2000)
    names = {
        role: trained(one, learned, tmp_path / role) for role, one in (("vit", "vit"), ("cnn", "convnet"))
    }
    run = arc.dig(**names, data=Scenes(fault, seed=0, count=800), out=tmp_path / "run", **QUICK)
    report = report_of(run)
    named = [one.title for one in report.causes.causes]
    found = [one["title"] for one in run.results["findings"]]
    if first is None:
        assert named == [] and "None could be named" in report.causes.opening
        return
    assert first in named[0], named
    assert all("hollow circle" in one or "labels" in one for one in named), (
        named
    )  # and nothing else is blamed
    assert any(first in one for one in found), found
    assert f"1. **{named[0]}**" in markdown(report)
    assert len(report.causes.causes[0].pictures) >= 3
