"""The raw gradient against finite differences of the model's own answer."""

from dataclasses import replace

import pytest
import torch
from tests.ablate import small_models as small

from archaeology.capture.record import capture
from archaeology.explain import explain
from archaeology.specimens.specimen import Specimen


def convolutional():
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Conv2d(3, 5, 3), torch.nn.Tanh(), torch.nn.Flatten(), torch.nn.Linear(5 * 2 * 5, 4)
    )
    return Specimen("small", model.double().eval(), "convolutional", (), (4, 7))


def test_it_is_what_a_small_step_of_each_pixel_does():
    specimen, images, target = (
        convolutional(),
        torch.rand(2, 3, 4, 7).double() * 0.8 + 0.1,
        torch.tensor([3, 1]),
    )
    found = explain("gradient", capture(specimen, images, target=target, patterns=False, image_gradient=True))
    wanted = torch.zeros(2, 4, 7, dtype=torch.float64)
    for image, label in enumerate(target.tolist()):
        for channel in range(3):
            for row in range(4):
                for column in range(7):
                    step = torch.zeros(3, 4, 7, dtype=torch.float64)
                    step[channel, row, column] = 1e-5
                    pair = torch.stack([images[image] + step, images[image] - step])
                    above, below = specimen.predict(pair)[:, label]
                    wanted[image, row, column] += ((above - below) / 2e-5).abs().item()
    torch.testing.assert_close(found.heatmap, wanted, rtol=1e-7, atol=1e-8)
    assert found.target.tolist() == [3, 1]
    assert found.attribution is None


def test_errors_say_what_to_do():
    made = capture(small.timm_vit(), small.images(2))
    with pytest.raises(ValueError, match=r"gradient of the image.*image_gradient=True"):
        explain("gradient", made)
    nan = replace(made, image_gradient=torch.full((2, 3, 6, 9), torch.nan))
    assert explain("gradient", nan).has_evidence.tolist() == [False, False]
