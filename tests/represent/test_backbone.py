"""A model without its last layer, and a probe put on it, say what they should."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from tests.represent.made_up import classes, features, random
from torch import nn

from archaeology.represent.backbone import PIXELS, backbone, output_features, pixels, probed
from archaeology.represent.probe import linear_probe, probe_head
from archaeology.specimens.fresh import fresh
from archaeology.specimens.load import load
from archaeology.specimens.specimen import Specimen


class Scaled(nn.Module):
    """A network whose answer is a linear layer's times a number."""

    def __init__(self, factor=3.0):
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(3 * 4 * 4, 5), nn.ReLU())
        self.head = nn.Linear(5, 7)
        self.factor = factor

    def forward(self, images):
        return self.factor * self.head(self.body(images))


def specimen(model, classes=tuple("abcdefg")):
    return Specimen("made up", model.eval(), "other", classes, (4, 4))


def images(count=6, seed=0):
    return torch.rand(count, 3, 4, 4, generator=torch.Generator().manual_seed(seed))


def test_the_head_goes_and_a_factor_stays():
    torch.manual_seed(0)
    model = Scaled()
    whole = specimen(model)
    found = backbone(whole)
    torch.testing.assert_close(found.predict(images()), 3 * model.body(whole.prepare(images())))
    assert found.classes == () and found.facts["features"] == "the input of head"
    assert isinstance(model.head, nn.Linear)  # the model itself is left as it was


def test_where_there_is_no_such_layer_the_answer_is_the_features():
    torch.manual_seed(0)
    two = specimen(nn.Sequential(nn.Flatten(), nn.Linear(48, 7), nn.Softmax(dim=1)))
    found = backbone(two)
    torch.testing.assert_close(found.predict(images()), two.predict(images()))
    assert found.facts["features"] == "its output"
    embedding = specimen(Scaled(), ())
    torch.testing.assert_close(backbone(embedding).predict(images()), embedding.predict(images()))
    lone = backbone(specimen(nn.Sequential(nn.Flatten(), nn.Linear(48, 7))))
    assert lone.predict(images()).shape == (6, 48)


def test_a_bundled_model_reads_what_its_head_reads():
    whole = load("bundled:vit_cifar10", device="cpu")
    some = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    features = backbone(whole).predict(some)
    torch.testing.assert_close(whole.model.head(features), whole.predict(some))


def test_pixels_are_pixels():
    found = output_features(pixels((4, 4)), images())
    np.testing.assert_allclose(found.values, images().flatten(1).numpy(), atol=1e-6)
    assert found.specimen == PIXELS
    with pytest.raises(ValueError, match="at least one image"):
        output_features(pixels(), images()[:0])


def test_a_probe_as_one_layer_is_scikit_learns():
    train, labels = classes(90, num_classes=3)
    test, truth = classes(40, num_classes=3, start=90)
    head = probe_head(train, labels, 5, strength=0.1)
    logits = head(torch.from_numpy(test.values).float()).numpy()
    scaler = StandardScaler().fit(train.values)
    model = LogisticRegression(C=0.1, max_iter=1000, tol=1e-6).fit(scaler.transform(train.values), labels)
    expected = model.predict_proba(scaler.transform(test.values))
    said = torch.from_numpy(logits).softmax(dim=1).numpy()
    np.testing.assert_allclose(said[:, :3], expected, atol=1e-3)
    assert said[:, 3:].max() == 0  # classes without an image
    judged = linear_probe(train, labels, test, truth, strengths=(0.1,))
    assert (logits.argmax(1) == judged.predicted).all()


def test_a_probe_of_two_classes():
    train, labels = classes(60, num_classes=2)
    logits = probe_head(train, labels, 2)(torch.from_numpy(train.values).float()).numpy()
    scaler = StandardScaler().fit(train.values)
    model = LogisticRegression(max_iter=1000).fit(scaler.transform(train.values), labels)
    expected = model.decision_function(scaler.transform(train.values))
    np.testing.assert_allclose(logits[:, 1] - logits[:, 0], expected, atol=2e-2)


def test_a_probed_model_is_a_classifier():
    torch.manual_seed(0)
    own = backbone(specimen(Scaled()))
    head = nn.Linear(5, 2)
    found = probed(own, head, ("one", "two"))
    torch.testing.assert_close(found.predict(images()), head(own.predict(images())))
    assert found.classes == ("one", "two")
    with pytest.raises(ValueError, match="one number for each of 3 classes, but says 2"):
        probed(own, head, ("one", "two", "three"))
    with pytest.raises(ValueError, match="labels must be below num_classes=2, but got 2"):
        probe_head(features(random(9, 3)), np.arange(9) % 3, 2)


def test_fresh_weights_are_of_the_same_architecture_and_random():
    trained, one = load("bundled:vit_cifar10", device="cpu"), fresh("bundled:vit_cifar10", device="cpu")
    again, other = (
        fresh("bundled:vit_cifar10", device="cpu"),
        fresh("bundled:vit_cifar10", seed=1, device="cpu"),
    )
    shapes = [{k: v.shape for k, v in each.model.state_dict().items()} for each in (trained, one)]
    assert shapes[0] == shapes[1] and one.mean == trained.mean and one.layout == trained.layout
    assert one.fingerprint() == again.fingerprint() != other.fingerprint() != trained.fingerprint()
    assert one.name == "bundled:vit_cifar10 with random weights" and "random" in str(one.facts["weights"])
    assert not one.model.training
    before = torch.random.get_rng_state()
    fresh("bundled:vit_cifar10", device="cpu")
    assert torch.equal(before, torch.random.get_rng_state())


def test_fresh_weights_of_a_library():
    spec = "timm:test_vit?pretrained=false"
    one, other = fresh(spec, device="cpu"), fresh(spec, seed=3, device="cpu")
    assert one.fingerprint() != other.fingerprint() and one.kind == "transformer"
