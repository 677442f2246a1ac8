"""Wrong labels are counted where there are some, and none is claimed of clean data however weak the models are."""

import numpy as np
import pytest

from archaeology.failures.label_errors import (
    confident_joint,
    easy_images,
    label_errors,
    label_rank,
    neighbour_dissent,
)
from archaeology.represent.features import Features


def answers(n, *, skill, seed=0, classes=10, wrong=0.0):
    """Probabilities of a model and labels; the model errs, mostly for a class like the true one, some of them wrong."""
    random = np.random.default_rng(seed)
    truth = random.integers(0, classes, n)
    ease = random.gamma(2.0, skill / 2, n)
    logits = random.normal(size=(n, classes))
    logits[np.arange(n), truth] += ease
    logits[np.arange(n), (truth + 1) % classes] += 1.2  # the class that it is taken for
    probability = np.exp(logits)
    probability /= probability.sum(axis=1, keepdims=True)
    rows = random.permutation(n)[: round(wrong * n)]
    labels = truth.copy()
    labels[rows] = (labels[rows] + random.integers(1, classes, len(rows))) % classes
    return probability, labels, rows


def test_the_confident_joint_is_that_of_the_paper():
    probability, labels, _ = answers(60, skill=3.0, classes=4, wrong=0.1)
    threshold = [
        np.mean([p[j] for p, label in zip(probability, labels, strict=True) if label == j]) for j in range(4)
    ]
    joint = np.zeros((4, 4), int)
    for p, label in zip(probability, labels, strict=True):
        above = [j for j in range(4) if p[j] >= threshold[j]]
        if above:
            joint[label, max(above, key=lambda j: p[j])] += 1
    assert (confident_joint(probability, labels) == joint).all() and joint.sum() > 30


def test_suspects_are_those_off_its_diagonal_and_the_wrong_come_first():
    probability, labels, rows = answers(800, skill=7.0, wrong=0.05)
    found = label_errors(probability, labels)
    joint = confident_joint(probability, labels)
    assert len(found.suspects) == joint.sum() - np.trace(joint)
    assert np.isin(found.suspects[: found.num_ruled_out], rows).mean() > 0.9
    assert (found.proposed != labels[found.suspects]).all()


@pytest.mark.parametrize("skill", [8.0, 16.0])
def test_five_of_a_hundred_are_counted_with_an_interval_that_holds_them(skill):
    held, small = 0, 0
    for seed in range(20):
        found = label_errors(*answers(3000, skill=skill, seed=seed, wrong=0.05)[:2])
        held += found.share.low <= 0.05 <= found.share.high
        small += found.p_value < 0.0005
    assert held >= 15 and small >= 15


def test_clean_labels_are_not_called_wrong_by_models_of_any_skill():
    skills = (0.3, 1.0, 2.0, 4.0, 8.0)
    found = [label_errors(*answers(1000, skill=one, seed=seed)[:2]) for one in skills for seed in range(40)]
    assert sum(one.p_value < 0.05 for one in found) <= 5  # of 200, at a level of 1 %


def test_easy_images_are_a_quarter_or_more_by_confidence_and_ranks_are_counted():
    probability, labels, _ = answers(400, skill=0.5)
    easy = easy_images(probability, labels)
    assert easy.sum() >= 100 and probability[easy].max(1).min() >= probability[~easy].max(1).max()
    rank = label_rank(probability, labels)
    assert rank[0] == sorted(probability[0], reverse=True).index(probability[0, labels[0]])


def test_neighbours_of_another_class_make_a_suspect():
    random = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], 20)
    values = np.eye(3)[labels] * 5 + random.normal(0, 0.3, (60, 3))
    given = labels.copy()
    given[[4, 33]] = 2, 0
    features = Features(values.astype(np.float32), tuple(map(str, range(60))), "made up", "last", "mean")
    rows, share = neighbour_dissent(features, given, k=7)
    assert sorted(rows.tolist()) == [4, 33] and (share > 0.5).all()
    with pytest.raises(ValueError, match="fewer neighbours"):
        neighbour_dissent(features, given, k=60)


def test_what_cannot_be_asked_says_why():
    probability, labels, _ = answers(300, skill=5.0, classes=3)
    assert "3 classes" in label_errors(probability, labels).reason
    probability, labels, _ = answers(30, skill=0.5)
    found = label_errors(probability, labels)
    assert "easy" in found.reason and found.p_value == 1


def test_bad_input():
    probability, labels, _ = answers(60, skill=5.0)
    with pytest.raises(ValueError, match="one label for each image"):
        label_errors(probability, labels[:-1])
    with pytest.raises(ValueError, match="softmax"):
        label_errors(10 * probability, labels)
    with pytest.raises(ValueError, match="unlabelled"):
        label_errors(probability, labels - 1)
