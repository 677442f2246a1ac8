"""A comparison of ways to learn, made up: a reference, a model that learned without labels, floors."""

import numpy as np

from archaeology.core.intervals import bootstrap_mean, wilson
from archaeology.dig.learning import differences_of
from archaeology.dig.learning_result import LearningComparison, Subject, Value

RIGHT = {  # share of 200 images named rightly
    "k-NN": {"labels": 0.8, "dino": 0.5, "random weights of labels": 0.2, "raw pixels": 0.22},
    "attacked": {"labels": 0.1, "dino": 0.4, "random weights of labels": 0.12, "raw pixels": 0.15},
    "corrupted": {"labels": 0.5, "dino": 0.5, "random weights of labels": 0.2},
}
SPREAD = {"labels": 0.7, "dino": 0.5, "random weights of labels": 0.95}


def shares(measure, subject, share, seed):
    samples = (np.random.default_rng([seed, len(measure), len(subject)]).random(200) < share).astype(float)
    return Value(measure, subject, wilson(int(samples.sum()), 200), samples)


def comparison(seed=0, right=None):
    """What `compare_learning` might have found."""
    floor = "random weights of labels"
    subjects = (
        Subject("labels", "learnt", "supervised", floor, "the input of head", 8),
        Subject("dino", "learnt", "self-distilled", floor, "the input of head", 8),
        Subject(floor, "random", "none", None, "the input of head", 8),
        Subject("raw pixels", "pixels", "none", None, "pixels", 48),
    )
    values = [
        shares(measure, subject, share, seed)
        for measure, by_subject in (RIGHT if right is None else right).items()
        for subject, share in by_subject.items()
    ]
    for subject, spread in SPREAD.items():
        samples = spread + 0.01 * np.random.default_rng([seed, len(subject)]).normal(size=40)
        values.append(Value("attention spread", subject, bootstrap_mean(samples), samples))
    found = differences_of(subjects, values, "labels", 0)
    settings = {"known": 500, "asked": 200}
    return LearningComparison("made up", "labels", subjects, tuple(values), found, settings, ("a note",))
