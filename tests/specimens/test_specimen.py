import json
from dataclasses import replace

import pytest
import torch
from torch import nn

from archaeology.specimens.specimen import Specimen


class Mean(nn.Module):
    """Two logits: the mean red and the mean blue of what comes in."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.scale * images.mean(dim=(2, 3))[:, [0, 2]]


@pytest.fixture
def mean_colour() -> Specimen:
    return Specimen(
        "mean", Mean().eval(), "other", ("red", "blue"), (4, 6), (0.1, 0.2, 0.3), (0.5, 0.25, 0.125)
    )


def test_normalises_per_channel(mean_colour: Specimen) -> None:
    images = torch.full((2, 3, 4, 6), 0.6)

    logits = mean_colour.predict(images)

    expected = torch.tensor([(0.6 - 0.1) / 0.5, (0.6 - 0.3) / 0.125]).expand(2, 2)
    torch.testing.assert_close(logits, expected)


def test_bytes_and_floats_agree(mean_colour: Specimen) -> None:
    pixels = torch.randint(
        0, 256, (3, 3, 4, 6), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )

    torch.testing.assert_close(mean_colour.predict(pixels), mean_colour.predict(pixels / 255))


def test_other_sizes_are_resized_without_leaving_the_range(mean_colour: Specimen) -> None:
    images = (torch.rand(2, 3, 13, 7, generator=torch.Generator().manual_seed(0)) > 0.5).float()

    prepared = mean_colour.prepare(images)

    mean, std = (torch.tensor(value).view(1, 3, 1, 1) for value in (mean_colour.mean, mean_colour.std))
    pixels = prepared * std + mean
    assert prepared.shape == (2, 3, 4, 6)
    assert pixels.min() >= -1e-6 and pixels.max() <= 1 + 1e-6


def test_double_images_are_cast_to_the_weights(mean_colour: Specimen) -> None:
    assert mean_colour.predict(torch.rand(1, 3, 4, 6, dtype=torch.float64)).dtype == torch.float32
    mean_colour.model.bfloat16()
    assert mean_colour.predict(torch.rand(1, 3, 4, 6)).dtype == torch.bfloat16


def test_gradient_reaches_the_images(mean_colour: Specimen) -> None:
    images = torch.full((1, 3, 4, 6), 0.5, requires_grad=True)

    mean_colour.predict(images)[0, 0].backward()

    assert images.grad is not None
    torch.testing.assert_close(images.grad[0, 0], torch.full((4, 6), 1 / 0.5 / 24))
    assert not images.grad[0, 1:].any()


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (
            torch.zeros(2, 1, 4, 6),
            r"must be \(batch, 3, height, width\).*shape \(2, 1, 4, 6\); add a batch axis",
        ),
        (torch.zeros(0, 3, 4, 6), r"at least one, but got shape \(0, 3, 4, 6\)"),
        (torch.full((1, 3, 4, 6), 255.0), r"must lie in \[0, 1\].*from 255 to 255; divide by 255"),
        (torch.full((1, 3, 4, 6), -0.5), r"from -0.5 to -0.5"),
        (torch.full((1, 3, 4, 6), torch.nan), r"must lie in \[0, 1\].*nan"),
    ],
)
def test_refuses_what_is_no_image(mean_colour: Specimen, images: torch.Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        mean_colour.prepare(images)


def test_refuses_wide_integers(mean_colour: Specimen) -> None:
    # The test command checks shapes and types at run time, which speaks first.
    with pytest.raises((ValueError, TypeError), match=r"must be uint8 or floating point|Type-check error"):
        mean_colour.prepare(torch.zeros(1, 3, 4, 6, dtype=torch.int64))


def test_fingerprint_follows_weights_and_preparation(mean_colour: Specimen) -> None:
    before = mean_colour.fingerprint()

    assert before == mean_colour.fingerprint() and len(before) == 64
    assert replace(mean_colour, mean=(0.1, 0.2, 0.31)).fingerprint() != before
    assert replace(mean_colour, image_size=(6, 4)).fingerprint() != before
    assert replace(mean_colour, name="another name").fingerprint() == before
    with torch.no_grad():
        mean_colour.model.get_parameter("scale").add_(1e-6)
    assert mean_colour.fingerprint() != before


def test_description_is_json(specimen: Specimen) -> None:
    told = json.loads(json.dumps(specimen.describe(), allow_nan=False))

    assert told["kind"] == "transformer" and told["image_size"] == [16, 16]
    assert told["classes"] == ["ant", "bee", "cat", "dog", "eel"]
    assert told["layout"] == {"rows": 4, "columns": 4, "prefix": [], "readout": "mean", "order": "flat"}
    assert told["num_parameters"] == sum(parameter.numel() for parameter in specimen.model.parameters())
    assert told["fingerprint"] == specimen.fingerprint()
    assert told["facts"]["recipe"] == "made_for_a_test"


def test_description_of_a_model_without_tokens(mean_colour: Specimen) -> None:
    assert mean_colour.describe()["layout"] is None
