"""Votes are scikit-learn's, without copies of the image asked, and chunks change nothing."""

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier
from tests.represent.made_up import classes, features, random

from archaeology.represent import leave_one_out, nearest_vote, neighbours, retrieve


@pytest.mark.parametrize("k", [1, 5, 20])
def test_it_names_what_scikit_learn_names(k, monkeypatch):
    known, labels = classes(61, spread=3.0)
    asked, truth = classes(37, spread=3.0, start=100)
    monkeypatch.setattr(neighbours, "CELLS", 61 * 5)
    found = nearest_vote(known, labels, asked, truth, ks=(k,))[0]
    peer = KNeighborsClassifier(k, metric="cosine", algorithm="brute").fit(known.values, labels)
    shares = np.sort(peer.predict_proba(asked.values), axis=1)
    is_clear = (
        shares[:, -1] > shares[:, -2]
    )  # of two classes with as many votes it names the first, we the nearer
    np.testing.assert_array_equal(found.predicted[is_clear], peer.predict(asked.values)[is_clear])
    assert is_clear.mean() > 0.8 and found.accuracy.value == pytest.approx((found.predicted == truth).mean())
    assert (
        found.accuracy.low < found.accuracy.value < found.accuracy.high and found.accuracy.method == "wilson"
    )


def test_of_classes_with_as_many_votes_the_nearer_is_named():
    """Two images known of each of 30 classes: the many others of 20 neighbours outvote nobody."""
    generator = np.random.default_rng(0)
    middles = generator.normal(size=(30, 16))
    truth = np.arange(30).repeat(2)
    known, asked = (
        features(
            middles[truth] + generator.normal(0, 0.1, (60, 16)),
            ids=[f"image {start + row}" for row in range(60)],
        )
        for start in (0, 100)
    )
    found = nearest_vote(known, truth, asked, truth, ks=(1, 5, 20))
    assert [vote.accuracy.value for vote in found] == [1.0, 1.0, 1.0]


def test_temperature_weighs_votes_as_in_dino():
    known, labels = classes(41, spread=3.0)
    asked, truth = classes(23, spread=3.0, start=100)
    found = nearest_vote(known, labels, asked, truth, ks=(7,), temperature=0.07)[0]
    for row, value in enumerate(asked.values):
        cosines = [float(value @ v / np.linalg.norm(value) / np.linalg.norm(v)) for v in known.values]
        votes = dict.fromkeys(range(3), 0.0)
        for place in sorted(range(41), key=lambda at: -cosines[at])[:7]:
            votes[int(labels[place])] += np.exp(cosines[place] / 0.07)
        assert found.predicted[row] == max(votes, key=lambda name: votes[name])
    plain = nearest_vote(known, labels, asked, truth, ks=(7,))[0]
    assert (plain.predicted != found.predicted).any()


def test_leaving_one_out_equals_asking_each_image_of_the_others():
    whole, labels = classes(29, spread=3.0)
    found = leave_one_out(whole, labels, ks=(5,))[0]
    for row in range(29):
        rest = np.delete(np.arange(29), row)
        alone = nearest_vote(
            whole.rows(rest), labels[rest], whole.rows(np.array([row])), labels[[row]], ks=(5,)
        )[0]
        assert found.predicted[row] == alone.predicted[0]


def test_copies_are_no_neighbours(monkeypatch):
    monkeypatch.setattr(neighbours, "CELLS", 23 * 7)  # in several portions
    known, _ = classes(20)
    twin = features(np.vstack([known.values, known.values[:3]]), ids=[*known.ids, *known.ids[:3]])
    labels = np.arange(23) % 2
    labels[20:] = labels[:3]
    votes = leave_one_out(twin, labels, ks=(1,))[0]
    assert votes.num_copies == 6
    found = retrieve(twin, known, 1)
    assert all(twin.ids[place] != name for place, name in zip(found.found[:, 0], known.ids, strict=True))
    same = features(random(5, 3)[[0, 0, 0, 1, 2]], ids=["a", "a", "a", "b", "c"])
    few = leave_one_out(same, np.array([0, 0, 0, 1, 1]), ks=(3,))[0]
    assert few.predicted[:3].tolist() == [-1, -1, -1] and few.accuracy.value <= 0.4


def test_retrieval_finds_its_class():
    gallery, labels = classes(60, spread=0.1)
    found = retrieve(gallery, gallery, 3, labels=labels, query_labels=labels)
    assert found.precision.value == 1 and (np.diff(found.similarity) <= 0).all()
    with pytest.raises(ValueError, match="or of neither"):
        retrieve(gallery, gallery, 3, labels=labels)


def test_bad_input_is_refused():
    known, labels = classes(10)
    with pytest.raises(ValueError, match="at most the number of images"):
        nearest_vote(known, labels, known, labels, ks=(11,))
    with pytest.raises(ValueError, match="no neighbour of itself"):
        leave_one_out(known, labels, ks=(10,))
    with pytest.raises(ValueError, match="at least two classes"):
        nearest_vote(known, labels * 0, known, labels, ks=(1,))
    with pytest.raises(ValueError, match="temperature must be positive"):
        nearest_vote(known, labels, known, labels, ks=(1,), temperature=0.0)
    with pytest.raises(ValueError, match="of one layer"):
        nearest_vote(known, labels, features(random(10, 3)), labels, ks=(1,))
    with pytest.raises(ValueError, match=r"one class .* for each of 10 images, but got 7"):
        nearest_vote(known, labels[:7], known, labels, ks=(1,))
    with pytest.raises(ValueError, match="which mean unlabelled"):
        nearest_vote(known, labels - 1, known, labels, ks=(1,))
    empty = features(np.vstack([known.values[:9], np.zeros((1, 7))]))
    with pytest.raises(ValueError, match=r"not all zero.*number 9"):
        leave_one_out(empty, labels, ks=(1,))
    holed = known.values.copy()
    holed[2] = np.inf
    with pytest.raises(ValueError, match="number 2"):
        leave_one_out(features(holed), labels, ks=(1,))
