"""A straight line through features that others learned: the head of a classifier whose encoder never saw a label."""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int

STRENGTHS = (
    0.01,
    0.1,
    1.0,
)  # of the regularisation, tried on a fifth of the images; inverse, as scikit-learn counts


def fit_head(
    encoder: Any, features: Float[np.ndarray, "image embed"], labels: Int[np.ndarray, " image"]
) -> float:
    """Give the encoder's head the weights of a logistic regression on its features, by scikit-learn.

    Features are standardised for the fit, which is then folded into the weights.

    Args:
        encoder: Its `head` is a linear layer; nothing else of it changes.
        features: That the head reads.
        labels: Their classes, every one of the head's among them.

    Returns:
        Strength of the regularisation (inverse) that did best on a fifth of the images that was held back.

    Raises:
        ValueError: If a class has no image.
    """
    from sklearn.linear_model import LogisticRegression

    num_classes = encoder.head.out_features
    absent = sorted(set(range(num_classes)) - set(labels.tolist()))
    if absent:
        raise ValueError(
            f"every one of {num_classes} classes needs an image to fit a head to, but of {absent} there is none."
        )
    middle, spread = features.mean(axis=0), features.std(axis=0) + 1e-6
    scaled = ((features - middle) / spread).astype(np.float64)
    held = np.arange(len(scaled)) % 5 == 0

    def fitted(strength: float, rows: np.ndarray) -> Any:
        return LogisticRegression(C=strength, max_iter=500, tol=1e-3).fit(scaled[rows], labels[rows])

    scores = {strength: fitted(strength, ~held).score(scaled[held], labels[held]) for strength in STRENGTHS}
    best = max(scores, key=lambda strength: scores[strength])
    found = fitted(best, np.ones_like(held))
    weight, bias = found.coef_, found.intercept_
    if num_classes == 2:  # scikit-learn then has one row, for the second class
        weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
    weight = weight / spread
    with torch.no_grad():
        encoder.head.weight.copy_(torch.from_numpy(weight))
        encoder.head.bias.copy_(torch.from_numpy(bias - weight @ middle))
    return best


def nearest_mean_accuracy(
    known: Float[np.ndarray, "known embed"],
    known_labels: Int[np.ndarray, " known"],
    asked: Float[np.ndarray, "asked embed"],
    asked_labels: Int[np.ndarray, " asked"],
) -> float:
    """Share of images whose features point most nearly towards the mean of their own class: a first look."""
    known, asked = (one / (np.linalg.norm(one, axis=1, keepdims=True) + 1e-12) for one in (known, asked))
    classes = np.unique(known_labels)
    means = np.stack([known[known_labels == one].mean(axis=0) for one in classes])
    return float((classes[(asked @ means.T).argmax(axis=1)] == asked_labels).mean())
