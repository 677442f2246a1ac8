"""Judging inside a dig: a finished part belongs to its truth as well as to its pixels."""

import numpy as np
import pytest
import torch

import archaeology as arc
from archaeology.data.cache import DecodedImages
from archaeology.dig import judging
from archaeology.dig.config import DigConfig
from archaeology.dig.parts import Parts
from archaeology.dig.survey import Images
from archaeology.evaluate.sheet import Sheet

COUNT = 3


def decoded(*, boxes=None, masks=None):
    pixels = np.random.default_rng(0).integers(0, 256, (COUNT, 3, 64, 64), dtype=np.uint8)
    return DecodedImages(
        images=pixels,
        labels=np.zeros(COUNT, dtype=np.int64),
        ids=tuple(str(number) for number in range(COUNT)),
        classes=(),
        split="test",
        skipped=(),
        fingerprint="source",
        name="made up",
        boxes=boxes,
        masks=masks,
    )


def left_of(column):
    masks = np.zeros((COUNT, 64, 64), dtype=bool)
    masks[:, :, :column] = True
    return masks


def boxes_until(edge):
    return np.array([[0.0, 0.0, edge, edge]] * COUNT, dtype=np.float32)


@pytest.fixture
def judge(tiny, tmp_path, monkeypatch):
    """Judges images with a truth and tells how many images were marked in all so far; marks are made up."""
    specimen = arc.load(tiny["vit"], device="cpu")

    def mark_all(specimen, images, **given):
        marks = torch.rand(2, len(given["by"]), len(images)).double().numpy()
        evidence = np.ones((2, len(images)), dtype=bool)
        return Sheet(("random", "good"), tuple(given["by"]), marks, marks, evidence, np.ones(len(images)), {})

    monkeypatch.setattr(judging, "mark_all", mark_all)
    parts = Parts(tmp_path)

    def run(**truth):
        images = Images.of(decoded(**truth), COUNT)
        judging.judge_methods("vit", specimen, "print", images, parts, DigConfig(judge_images=COUNT))
        return parts.computed["judge-vit"]

    return run


def test_marks_are_found_again_for_the_same_truth_only(judge):
    assert judge(masks=left_of(20)) == COUNT
    assert judge(masks=left_of(20)) == COUNT
    assert judge(masks=left_of(30)) == 2 * COUNT
    assert judge(boxes=boxes_until(20.0)) == 3 * COUNT
    assert judge(boxes=boxes_until(20.0)) == 3 * COUNT
    assert judge(boxes=boxes_until(30.0)) == 4 * COUNT
    assert judge() == 5 * COUNT


def test_marks_of_judges_called_otherwise_are_others(judge, monkeypatch):
    assert judge() == COUNT
    monkeypatch.setattr(judging, "PARAMETERS", {"randomization": {"only_whole": False}})
    assert judge() == 2 * COUNT


def test_one_image_is_too_few_whatever_the_model_costs(tiny, tmp_path):
    specimen = arc.load(tiny["vit"], device="cpu")
    images = Images.of(decoded(), COUNT).only([0])
    for asked in (None, 5):
        config = DigConfig(judge_images=asked)
        judged = judging.judge_methods("vit", specimen, "print", images, Parts(tmp_path), config)
        assert judged.reason == "there was only 1 image, and judging needs at least 2"
