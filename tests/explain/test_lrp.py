import pytest
import torch
from tests.ablate import small_models as small
from tests.explain import asked_models as models
from torch import nn

from archaeology.attention.build import mechanisms
from archaeology.core.errors import SelfCheckError, UnknownNameError
from archaeology.explain import explain_images
from archaeology.models import ViT
from archaeology.specimens.specimen import Specimen

TARGET = torch.tensor([4, 1, 5])


def explained(made=None, pictures=None, target=TARGET, **parameters):
    made = made or models.specimen()
    pictures = models.images(3) if pictures is None else pictures
    return explain_images("lrp", made, pictures, target, **parameters)


def by_hand(made, picture, target):
    """Relevance of pixels through two linear layers with an activation between: the epsilon rule, twice."""
    first, last = made.model[1], made.model[3]
    mean, std = (torch.tensor(some, dtype=torch.float64).tolist() for some in (models.MEAN, models.STD))
    given = [(value - mean[c]) / std[c] for c in range(3) for row in picture[c].tolist() for value in row]
    found = [0.0] * len(given)
    for unit, (weights, bias) in enumerate(zip(first.weight.tolist(), first.bias.tolist(), strict=True)):
        total = bias + sum(w * x for w, x in zip(weights, given, strict=True))
        arriving = float(
            last.weight[target, unit].detach() * torch.tanh(torch.tensor(total, dtype=torch.float64))
        )
        for place, (weight, x) in enumerate(zip(weights, given, strict=True)):
            found[place] += weight * x / total * arriving
    pixels = len(given) // 3
    return [sum(found[c * pixels + place] for c in range(3)) for place in range(pixels)]


def test_equals_loops():
    made, pictures = models.specimen(), models.images(3)
    found = explained()
    for number in range(3):
        expected = torch.tensor(by_hand(made, pictures[number], TARGET[number]), dtype=torch.float64)
        torch.testing.assert_close(found.attribution[number], expected.view(4, 5), rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(found.facts["relevance"], found.attribution.sum((1, 2)))


def test_without_biases_all_relevance_arrives_whatever_the_size_of_the_images():
    made = models.specimen()
    nn.init.zeros_(made.model[1].bias)
    for pictures in (models.images(3), torch.rand(3, 3, 7, 9, dtype=torch.float64) * 0.5 + 0.2):
        for gamma in (0.0, 0.5):
            found = explained(made, pictures, gamma=gamma)
            assert found.heatmap.shape[1:] == pictures.shape[2:]
            torch.testing.assert_close(found.facts["relevance"], found.facts["logit"])


def test_gamma_favours_what_agrees():
    plain, favoured = (
        explained(small.timm_vit(), small.images(3)),
        explained(small.timm_vit(), small.images(3), gamma=2.0),
    )
    contradiction = [
        (found.attribution.abs().sum((1, 2)) / found.attribution.sum((1, 2)).abs()).mean()
        for found in (plain, favoured)
    ]
    assert contradiction[1] < contradiction[0]


# One that shares queries and keys is used through a layer of its own, not through a ViT's.
@pytest.mark.parametrize(
    "attention", [name for name in mechanisms if not mechanisms.get(name).shares_query_and_key]
)
def test_every_mechanism_of_ours_hands_relevance_back(attention):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = ViT(
            image_size=12,
            patch_size=3,
            num_classes=6,
            embed_dim=12,
            depth=2,
            num_heads=3,
            attention=attention,
        )
        for parameter in model.parameters():
            nn.init.normal_(parameter, std=0.3)
    made = Specimen("small", model.eval(), "transformer", (), (12, 12))
    both = [explained(made, small.images(3, 12, 12), rule=rule) for rule in ("attnlrp", "cp")]
    for found in both:
        assert found.attribution.isfinite().all() and found.has_evidence.all()
    assert (both[0].attribution - both[1].attribution).abs().max() > 1e-3 * both[1].heatmap.max()


def test_running_out_of_memory_changes_nothing():
    narrow = models.Narrow(models.specimen().model, limit=1)
    found = explained(models.specimen(narrow), at_once=16)
    assert max(narrow.seen) == 3
    torch.testing.assert_close(found.attribution, explained().attribution, rtol=1e-12, atol=1e-12)


def test_an_image_without_a_finite_answer_has_no_evidence_and_spoils_no_other():
    pictures = models.images(3)
    pictures[:, 0, 0, 0] = torch.tensor([0.9, 0.0, 0.9])
    breaking = models.specimen(models.Breaking(models.specimen().model))
    found = explained(breaking, pictures)
    assert found.has_evidence.tolist() == [True, False, True]
    assert found.attribution[1].isnan().all()
    torch.testing.assert_close(found.attribution[[0, 2]], explained(pictures=pictures).attribution[[0, 2]])


def test_errors_say_what_to_do():
    with pytest.raises(UnknownNameError, match="No relevance rule is called 'cpp'; did you mean 'cp'"):
        explained(rule="cpp")
    with pytest.raises(ValueError, match="gamma must be finite and >= 0"):
        explained(gamma=-1.0)
    with pytest.raises(ValueError, match="at_once must be at least 1"):
        explained(at_once=0)
    with pytest.raises(ValueError, match=r"target must hold one class in 0\.\.5 for each of 3 images"):
        explained(target=torch.tensor([0, 6, 1]))
    dropping = models.specimen(nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(60, 6)))
    dropping.model.train()
    with (
        torch.random.fork_rng(devices=[]),
        pytest.raises(SelfCheckError, match=r"put the model into evaluation mode"),
    ):
        explained(dropping)
