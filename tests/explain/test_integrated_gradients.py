import pytest
import torch
from tests.ablate import small_models as small
from tests.explain import asked_models as models
from tests.oracles import asking

from archaeology.core.errors import UnknownNameError
from archaeology.explain import explain_images
from archaeology.explain.baselines import baseline_image
from archaeology.explain.integrated_gradients import nodes

TARGET = torch.tensor([4, 1, 5])


def explained(made=None, pictures=None, target=TARGET, **parameters):
    made = made or models.specimen()
    pictures = models.images(3) if pictures is None else pictures
    return explain_images("integrated_gradients", made, pictures, target, **parameters)


@pytest.mark.parametrize("baseline", ["black", "grey", "blurred"])
@pytest.mark.parametrize("quadrature", ["gauss_legendre", "midpoint"])
def test_equals_loops(baseline, quadrature):
    made, pictures = models.specimen(), models.images(3)
    found = explained(baseline=baseline, quadrature=quadrature, steps=5, at_once=4)
    places, weights = asking.legendre_nodes(5)
    if quadrature == "midpoint":
        places, weights = [0.1, 0.3, 0.5, 0.7, 0.9], [0.2] * 5
    for number in range(3):
        image = pictures[number].tolist()
        start = {
            "black": [[[0.0] * 5] * 4] * 3,
            "grey": [[[colour] * 5] * 4 for colour in models.MEAN],
            "blurred": asking.blurred(image, 0.4, 2),
        }[baseline]
        logit, gradient = models.by_hand(made, TARGET[number])
        shares = asking.integrated_gradients(gradient, image, start, places, weights)
        expected = torch.tensor(shares, dtype=torch.float64)
        torch.testing.assert_close(found.attribution[number], expected, rtol=1e-9, atol=1e-12)
        assert float(found.facts["logit"][number]) == pytest.approx(logit(image), rel=1e-12)
        assert float(found.facts["baseline_logit"][number]) == pytest.approx(logit(start), rel=1e-12)
        difference = logit(image) - logit(start)
        error = abs(float(expected.sum()) - difference) / abs(difference)
        assert float(found.facts["completeness_error"][number]) == pytest.approx(error, rel=1e-5, abs=1e-12)


def test_shares_are_complete_and_more_steps_make_them_so():
    errors = [float(explained(steps=steps).facts["completeness_error"].max()) for steps in (1, 4, 64)]
    assert errors[0] > errors[1] > errors[2] and errors[2] < 1e-9


def test_gauss_legendre_is_exact_for_polynomials_of_degree_nine():
    places, weights = nodes("gauss_legendre", 5)
    assert float((weights * places**9).sum()) == pytest.approx(0.1, rel=1e-12)


def test_a_transformer_and_images_of_another_size():
    made = small.timm_vit()
    found = explained(made, small.images(3, 11, 13), steps=48)
    assert found.heatmap.shape == (3, 11, 13)
    assert float(found.facts["completeness_error"].max()) < 0.05


def test_an_image_equal_to_the_baseline_has_no_evidence():
    pictures = models.images(3)
    pictures[1] = 0
    found = explained(pictures=pictures)
    assert found.has_evidence.tolist() == [True, False, True]
    assert float(found.facts["completeness_error"][1]) == 0


def test_running_out_of_memory_changes_nothing():
    narrow = models.Narrow(models.specimen().model, limit=3)
    found = explained(models.specimen(narrow), steps=5, at_once=16)
    assert max(narrow.seen) > 3
    torch.testing.assert_close(found.attribution, explained(steps=5).attribution, rtol=1e-12, atol=1e-12)


def test_an_image_without_a_finite_answer_has_no_evidence_and_spoils_no_other():
    pictures = models.images(3)
    pictures[:, 0, 0, 0] = torch.tensor([0.9, 0.0, 0.9])
    breaking = models.specimen(models.Breaking(models.specimen().model))
    found = explained(breaking, pictures, baseline="grey", steps=3)
    assert found.has_evidence.tolist() == [True, False, True]
    assert found.attribution[1].isnan().all() and found.facts["logit"][1].isnan()
    plain = explained(pictures=pictures, baseline="grey", steps=3)
    torch.testing.assert_close(found.attribution[[0, 2]], plain.attribution[[0, 2]])


def test_errors_say_what_to_do():
    with pytest.raises(ValueError, match="steps must be at least 1, but got steps=0; 32 is customary"):
        explained(steps=0)
    with pytest.raises(ValueError, match="at_once must be at least 1"):
        explained(at_once=0)
    with pytest.raises(ValueError, match=r"target must hold one class in 0\.\.5 for each of 3 images"):
        explained(target=torch.tensor([0, 6, 1]))
    with pytest.raises(UnknownNameError, match="No baseline is called 'blak'; did you mean 'black'"):
        explained(baseline="blak")
    with pytest.raises(UnknownNameError, match="No quadrature is called 'midpiont'; did you mean 'midpoint'"):
        explained(quadrature="midpiont")


def test_baselines_are_images_without_content():
    made, pictures = models.specimen(), models.images(3)
    assert float(baseline_image("black", pictures, made).abs().max()) == 0
    assert float(made.prepare(baseline_image("grey", pictures, made)).abs().max()) < 1e-12
    flat = torch.full_like(pictures, 0.3)
    torch.testing.assert_close(baseline_image("blurred", flat, made), flat)
