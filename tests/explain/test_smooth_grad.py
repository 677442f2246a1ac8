import pytest
import torch
from tests.explain import asked_models as models
from tests.oracles import asking

from archaeology.core.seeding import content_names
from archaeology.explain import explain_images
from archaeology.explain.smooth_grad import noise_of

TARGET = torch.tensor([4, 1, 5])


def explained(made=None, pictures=None, target=TARGET, **parameters):
    made = made or models.specimen()
    pictures = models.images(3) if pictures is None else pictures
    return explain_images("smooth_grad", made, pictures, target, **parameters)


@pytest.mark.parametrize("squared", [False, True])
def test_equals_loops(squared):
    made, pictures = models.specimen(), models.images(3)
    found = explained(samples=5, noise=0.3, seed=2, squared=squared, at_once=4)
    for number in range(3):
        picture = pictures[number]
        (name,) = content_names(picture[None])
        noises = [noise_of(name, sample, 2, picture).tolist() for sample in range(5)]
        deviation = 0.3 * float(picture.max() - picture.min())
        _, gradient = models.by_hand(made, TARGET[number])
        expected = asking.smooth_grad(gradient, picture.tolist(), noises, deviation, squared)
        torch.testing.assert_close(
            found.heatmap[number], torch.tensor(expected, dtype=torch.float64), rtol=1e-9, atol=1e-12
        )


def test_noise_is_standard_normal_and_differs_by_image_copy_and_seed():
    like = torch.zeros(3, 40, 41)
    drawn = torch.stack(
        [noise_of(*which, like) for which in [("a", 0, 0), ("b", 0, 0), ("a", 1, 0), ("a", 0, 1)]]
    )
    assert torch.corrcoef(drawn.flatten(1)).fill_diagonal_(0).abs().max() < 0.06
    assert drawn.mean().abs() < 0.03 and (drawn.std() - 1).abs() < 0.03
    assert torch.equal(noise_of("a", 0, 0, like), drawn[0])


def test_the_same_image_has_the_same_map_wherever_it_stands():
    pictures = models.images(3)
    swapped = explained(pictures=pictures[[2, 0, 1]], target=TARGET[[2, 0, 1]], samples=3)
    torch.testing.assert_close(swapped.heatmap[[1, 2, 0]], explained(samples=3).heatmap)
    assert not torch.equal(explained(samples=3, seed=1).heatmap, explained(samples=3).heatmap)


def test_without_noise_it_is_the_gradient():
    made, pictures = models.specimen(), models.images(3)
    found = explained(samples=2, noise=0.0)
    for number in range(3):
        _, gradient = models.by_hand(made, TARGET[number])
        expected = torch.tensor(gradient(pictures[number].tolist()), dtype=torch.float64).abs().amax(0)
        torch.testing.assert_close(found.heatmap[number], expected)


def test_eight_bit_images_are_the_same_images():
    pictures = (models.images(3) * 255).round().to(torch.uint8)
    as_floats = explained(models.specimen(dtype=torch.float32), pictures.float() / 255, samples=3)
    torch.testing.assert_close(
        explained(models.specimen(dtype=torch.float32), pictures, samples=3).heatmap, as_floats.heatmap
    )


def test_running_out_of_memory_changes_nothing():
    narrow = models.Narrow(models.specimen().model, limit=3)
    found = explained(models.specimen(narrow), samples=5, at_once=16)
    assert max(narrow.seen) > 3
    torch.testing.assert_close(found.heatmap, explained(samples=5).heatmap, rtol=1e-12, atol=1e-12)


def test_an_image_without_a_finite_answer_has_no_evidence_and_spoils_no_other():
    pictures = models.images(3)
    pictures[:, 0, 0, 0] = torch.tensor([0.9, 0.0, 0.9])
    breaking = models.specimen(models.Breaking(models.specimen().model))
    found = explained(breaking, pictures, noise=0.001, samples=3)
    assert found.has_evidence.tolist() == [True, False, True]
    assert found.heatmap[1].isnan().all()
    plain = explained(pictures=pictures, noise=0.001, samples=3)
    torch.testing.assert_close(found.heatmap[[0, 2]], plain.heatmap[[0, 2]])


def test_errors_say_what_to_do():
    with pytest.raises(ValueError, match="samples must be at least 1, but got samples=0; 32 is customary"):
        explained(samples=0)
    with pytest.raises(
        ValueError, match=r"noise must be a finite share of the image's range, >= 0, but got noise=-0\.1"
    ):
        explained(noise=-0.1)
    with pytest.raises(ValueError, match=r"noise must be .* but got noise=nan"):
        explained(noise=float("nan"))
    with pytest.raises(ValueError, match="at_once must be at least 1"):
        explained(at_once=0)
    with pytest.raises(ValueError, match="seed must be a whole number >= 0"):
        explained(seed=-1)
    with pytest.raises(ValueError, match=r"target must hold one class in 0\.\.5 for each of 3 images"):
        explained(target=torch.tensor([0, 6, 1]))
