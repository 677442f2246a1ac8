"""Feature sets made up of random numbers, and small models."""

import numpy as np

from archaeology.represent.features import Features


def features(values, layer="layer", ids=None):
    values = np.asarray(values)
    names = tuple(f"image {row}" for row in range(len(values))) if ids is None else tuple(ids)
    return Features(values, names, "made up", layer, "mean_patches")


def random(rows, columns, seed=0):
    return np.random.default_rng(seed).normal(size=(rows, columns)) + 3


def classes(count, num_classes=3, columns=7, spread=1.0, seed=0, start=0):
    """Clouds around corners: features with ids that go on from `start`, and labels."""
    generator = np.random.default_rng([seed, start])
    labels = np.arange(count) % num_classes
    corners = np.random.default_rng(seed).normal(size=(num_classes, columns)) * 2
    values = corners[labels] + spread * generator.normal(size=(count, columns))
    return features(values, ids=[f"image {start + row}" for row in range(count)]), labels
