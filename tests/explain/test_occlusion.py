from dataclasses import replace

import pytest
import torch
from tests.explain import asked_models as models
from tests.oracles import asking

from archaeology.core.errors import UnknownNameError
from archaeology.explain import explain_images
from archaeology.explain.occlusion import Windows
from archaeology.specimens.layout import TokenLayout

TARGET = torch.tensor([4, 1, 5])


def explained(made=None, pictures=None, target=TARGET, **parameters):
    made = made or models.specimen()
    pictures = models.images(3) if pictures is None else pictures
    return explain_images("occlusion", made, pictures, target, **parameters)


@pytest.mark.parametrize(
    "grid, borders, window, stride, fill",
    [
        (None, (range(5), range(6)), 1, 1, "black"),  # eighths would be smaller than pixels
        (None, (range(5), range(6)), 3, 2, "grey"),
        ((2, 5), ((0, 2, 4), range(6)), 2, 2, "blurred"),
        ((3, 2), ((0, 1, 3, 4), (0, 2, 5)), 2, 1, "grey"),  # borders between patches fall between pixels
    ],
)
def test_equals_loops(grid, borders, window, stride, fill):
    made, pictures = models.specimen(), models.images(3)
    if grid:
        made = replace(made, layout=TokenLayout(*grid))
    found = explained(made, window=window, stride=stride, fill=fill, at_once=4)
    for number in range(3):
        image = pictures[number].tolist()
        covering = {
            "black": [[[0.0] * 5] * 4] * 3,
            "grey": [[[colour] * 5] * 4 for colour in models.MEAN],
            "blurred": asking.blurred(image, 0.4, 2),
        }[fill]
        logit, _ = models.by_hand(made, TARGET[number])
        expected = asking.occlusion(logit, image, covering, [list(some) for some in borders], window, stride)
        torch.testing.assert_close(
            found.attribution[number], torch.tensor(expected, dtype=torch.float64), rtol=1e-9, atol=1e-12
        )


@pytest.mark.parametrize("patches", range(1, 9))
@pytest.mark.parametrize("window, stride", [(1, 1), (3, 1), (3, 2), (3, 3), (5, 4)])
def test_windows_cover_every_patch_and_every_pixel(patches, window, stride):
    windows = Windows(patches, 17, min(window, patches), min(stride, patches))
    assert windows.covers_patches().any(dim=0).all() and windows.covers_patches().any(dim=1).all()
    assert windows.covers_patches().shape == (len(windows), patches)
    assert windows.covers_pixels().any(dim=0).all() and windows.covers_pixels().any(dim=1).all()


def test_without_being_asked_there_are_at_most_sixteen_windows_along_a_side():
    def asked(layout, **parameters):
        made = replace(models.specimen(dtype=torch.float32), layout=layout)
        pictures = torch.rand(1, 3, 40, 41)
        return explained(made, pictures, TARGET[:1], **parameters)

    assert asked(None).heatmap.shape == (1, 8, 8)
    found = asked(TokenLayout(14, 13, ("class",)))
    assert found.heatmap.shape == (1, 14, 13) and found.parameters["window"] == 1
    found = asked(TokenLayout(33, 17))
    assert (
        found.heatmap.shape == (1, 33, 17) and found.parameters["window"] == found.parameters["stride"] == 3
    )
    assert asked(TokenLayout(2, 40)).parameters["window"] == 2


def test_a_place_that_does_not_matter_counts_nothing():
    class Corner(torch.nn.Module):
        def forward(self, images):
            return images[:, 0, 0, 0, None] * torch.arange(6.0)

    found = explained(models.specimen(Corner(), torch.float32), models.images(3).float(), fill="black")
    assert (found.attribution.flatten(1)[:, 1:] == 0).all()
    assert (found.attribution[:, 0, 0] > 0).all()


def test_running_out_of_memory_changes_nothing():
    narrow = models.Narrow(models.specimen().model, limit=3)
    found = explained(models.specimen(narrow), at_once=16)
    assert max(narrow.seen) > 3
    torch.testing.assert_close(found.attribution, explained().attribution, rtol=1e-12, atol=1e-12)


def test_an_image_without_a_finite_answer_has_no_evidence_and_spoils_no_other():
    pictures = models.images(3)
    pictures[:, 0, 0, 0] = torch.tensor([0.9, 0.0, 0.9])
    breaking = models.specimen(models.Breaking(models.specimen().model))
    found = explained(breaking, pictures, fill="grey")
    assert found.has_evidence.tolist() == [True, False, True]
    assert found.attribution[1].isnan().all()
    plain = explained(pictures=pictures, fill="grey")
    torch.testing.assert_close(found.attribution[[0, 2]], plain.attribution[[0, 2]])


def test_errors_say_what_to_do():
    with pytest.raises(
        ValueError, match=r"window must be from 1 to 4, because the image has 4 x 5 patches.*window=5"
    ):
        explained(window=5)
    with pytest.raises(ValueError, match="window must be from 1 to 4"):
        explained(window=0)
    with pytest.raises(
        ValueError, match="stride must be from 1 to the window, or places stay uncovered, but got stride=3"
    ):
        explained(window=2, stride=3)
    with pytest.raises(ValueError, match="at_once must be at least 1"):
        explained(at_once=0)
    with pytest.raises(ValueError, match=r"target must hold one class in 0\.\.5 for each of 3 images"):
        explained(target=torch.tensor([0, 6, 1]))
    with pytest.raises(UnknownNameError, match="No baseline is called 'gray'; did you mean 'grey'"):
        explained(fill="gray")
