from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from archaeology.data.worlds.cue_conflict import CueConflict
from archaeology.data.worlds.cue_scenes import SHAPE_NAMES
from archaeology.robustness.filters import low_pass
from archaeology.robustness.shape_bias import ShapeBias, shape_bias
from archaeology.specimens.specimen import Specimen


class Oracle(nn.Module):
    """Knows scenes by their mean colour and says what it was told."""

    def __init__(self, scenes, answers):
        super().__init__()
        self.known = scenes.images.float().mean((2, 3)) / 255
        self.told = torch.as_tensor(answers)

    def forward(self, images):
        nearest = torch.cdist(images.mean((2, 3)), self.known).argmin(dim=1)
        return nn.functional.one_hot(self.told[nearest], 8).float()


def oracle(name, scenes, answers):
    none = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    return Specimen(name, Oracle(scenes, answers), "other", SHAPE_NAMES, (32, 32), *none)


@pytest.fixture(scope="module")
def scenes():
    return CueConflict("conflict", size=32).generate(0, 23)


def test_shares_are_counted_among_decisions_for_either_cue(scenes):
    pairs = zip(scenes.shape.tolist(), scenes.texture.tolist(), strict=True)
    third = torch.tensor([min({0, 1, 2} - set(pair)) for pair in pairs])
    turn = torch.arange(23) % 4
    mixed = torch.where(turn == 0, third, torch.where(turn == 1, scenes.texture, scenes.shape))
    models = [oracle("mixed", scenes, mixed), oracle("textured", scenes, scenes.texture)]
    found = shape_bias(models, scenes, cutoffs=(0.3,), at_once=7)
    assert found.cutoffs == (0.3, np.inf) and found.answers.shape == (2, 2, 23)
    np.testing.assert_array_equal(found.answers[0, 1], mixed.numpy())
    decided, shapes = int((turn != 0).sum()), int((turn >= 2).sum())
    share = found.share("mixed")
    assert (share.n, share.value) == (decided, shapes / decided) and share.low < share.value < share.high
    assert found.share("textured").value == 0
    for shape in range(8):
        own = [i for i in range(23) if int(scenes.shape[i]) == shape and int(turn[i]) != 0]
        interval = found.share("mixed", shape=shape)
        assert interval.n == len(own)
        if own:
            assert interval.value == sum(int(turn[i]) >= 2 for i in own) / len(own)
    apart = found.difference("mixed", "textured")
    assert apart.value == shapes / decided and 0 < apart.low < apart.value < apart.high
    assert found.difference("textured", "mixed").value == pytest.approx(-shapes / decided)
    same = found.difference("mixed", "mixed")
    assert (same.value, same.low, same.high) == (0, 0, 0)


def test_models_see_the_low_passed_images(scenes):
    seen = []

    class Watching(nn.Module):
        def forward(self, images):
            seen.append(images)
            return torch.eye(8)[torch.zeros(len(images), dtype=torch.long)]

    none = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    shape_bias([Specimen("watching", Watching(), "other", (), (32, 32), *none)], scenes, cutoffs=(0.1, 0.4))
    images = scenes.images.float() / 255
    for shown, wanted in zip(seen, (low_pass(images, 0.1), low_pass(images, 0.4), images), strict=True):
        torch.testing.assert_close(shown, wanted)


def test_the_description_holds_every_class_and_pair(scenes):
    models = [
        oracle("a", scenes, scenes.shape),
        oracle("b", scenes, scenes.texture),
        oracle("c", scenes, scenes.shape),
    ]
    described = shape_bias(models, scenes, cutoffs=(0.5,)).describe()
    assert len(described["table"]) == 6 and len(described["differences"]) == 6
    last = described["table"][3]
    assert last["specimen"] == "a" and last["cutoff"] is None and last["shape_share"] == 1
    assert list(last["by_class"]) == list(SHAPE_NAMES)
    assert described["differences"][3]["difference"] == 1


def test_no_decision_gives_no_share():
    shape, texture = np.array([0, 1]), np.array([1, 0])
    found = ShapeBias(("a", "b"), (np.inf,), SHAPE_NAMES, shape, texture, np.array([[[2, 3]], [[0, 1]]]))
    assert found.share("a").n == 0 and np.isnan(found.share("a").value)
    assert np.isnan(found.difference("a", "b").value)
    assert found.describe()["table"][0]["shape_share"] is None


def test_bad_input_is_refused(scenes):
    model = oracle("a", scenes, scenes.shape)
    with pytest.raises(ValueError, match=r"first classes of a must be disc, square.*but are square"):
        shape_bias([replace(model, classes=("square", *SHAPE_NAMES[1:]))], scenes)
    with pytest.raises(
        ValueError, match="shape and texture must disagree in every scene, but agree in 4 of 4"
    ):
        shape_bias([model], CueConflict("aligned", size=32).generate(0, 4))
    for cutoffs in ((0.5, 0.2), (-0.1,), (float("inf"),)):
        with pytest.raises(ValueError, match="cutoffs must be shares of Nyquist that ascend"):
            shape_bias([model], scenes, cutoffs=cutoffs)
    found = shape_bias([model], scenes, cutoffs=())
    with pytest.raises(ValueError, match="specimen must be one of a, but got 'b'"):
        found.share("b")
    with pytest.raises(ValueError, match="cutoff must be one of"):
        found.share("a", 0.25)
