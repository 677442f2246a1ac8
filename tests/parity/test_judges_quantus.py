"""Judges against Quantus, on maps where its rules and ours are the same: no equal patches, objects made of patches."""

import pytest
import torch
from tests.evaluate import cases
from torch import nn

from archaeology.evaluate import mark

quantus = pytest.importorskip("quantus")


class Predicting(nn.Module):
    """A specimen as Quantus takes it: a module of images in [0, 1]."""

    def __init__(self, specimen):
        super().__init__()
        self.specimen, self.model = specimen, specimen.model

    def forward(self, images):
        return self.specimen.predict(images)


def pixels(explanation):
    """The map enlarged to the image, every pixel the value of its patch."""
    return explanation.heatmap.repeat_interleave(3, 1).repeat_interleave(3, 2)[:, None].numpy()


@pytest.mark.filterwarnings("ignore")
def test_deletion_curve_equals_pixel_flipping():
    from quantus.helpers.model.pytorch_model import PyTorchModel

    trial, explanation = cases.trial(3), cases.scattered(3)
    metric = quantus.PixelFlipping(features_in_step=27, perturb_baseline=0.0, disable_warnings=True)
    model = PyTorchModel(Predicting(trial.specimen).eval(), channel_first=True, softmax=True)
    theirs = metric.evaluate_batch(model, trial.images.numpy(), trial.target.numpy(), pixels(explanation))
    ours = mark("deletion", trial, explanation, fill="black", steps=6).details["probability"][:, 1:]
    torch.testing.assert_close(ours, torch.tensor(theirs, dtype=torch.float64), rtol=0, atol=1e-6)


@pytest.mark.filterwarnings("ignore")
def test_pointing_game_equals():
    explanation = cases.scattered(6)
    truth = torch.zeros(6, 6, 9, dtype=torch.bool)
    truth[:, :3, 3:] = True
    trial = cases.trial(6, masks=truth)
    metric = quantus.PointingGame(disable_warnings=True)
    theirs = metric.evaluate_batch(a_batch=pixels(explanation), s_batch=truth[:, None].numpy())
    ours = mark("pointing_game", trial, explanation).score
    assert ours.tolist() == [float(hit) for hit in theirs]
    assert 0 < float(ours.sum()) < 6


@pytest.mark.filterwarnings("ignore")
def test_sparseness_and_complexity_equal():
    trial, explanation = cases.trial(4), cases.scattered(4)
    gini = quantus.Sparseness(disable_warnings=True).evaluate_batch(None, explanation.heatmap.numpy().copy())
    entropy = quantus.Complexity(disable_warnings=True).evaluate_batch(
        None, explanation.heatmap.numpy().copy()
    )
    ours = mark("sparseness", trial, explanation).score
    torch.testing.assert_close(ours, torch.from_numpy(gini), rtol=0, atol=1e-5)
    nats = mark("complexity", trial, explanation).details["nats"]
    torch.testing.assert_close(nats, torch.from_numpy(entropy), rtol=0, atol=1e-9)
