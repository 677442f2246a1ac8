"""Where in a model do classes become readable? Neighbours and probes, layer by layer, on the same images."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int
from torch import Tensor

from archaeology.core.intervals import Interval
from archaeology.represent.features import Features
from archaeology.represent.neighbours import KS, nearest_vote
from archaeology.represent.probe import FOLDS, PENALTIES, check_apart, linear_probe


@dataclass(frozen=True)
class LayerReading:
    """How well the class is read from one layer.

    Attributes:
        layer: Module path.
        neighbours: Accuracy of the k nearest, one for each k.
        probe: Accuracy of a linear probe; None where none was trained.
    """

    layer: str
    neighbours: tuple[Interval, ...]
    probe: Interval | None


@dataclass(frozen=True)
class Reading:
    """How well the class is read from each layer of a model.

    Attributes:
        specimen: The model.
        readout: How tokens became vectors.
        ks: Numbers of neighbours.
        layers: First to last.
        num_train: Images that neighbours and probe know.
        num_test: Images judged.
        num_classes: To choose from.
    """

    specimen: str
    readout: str
    ks: tuple[int, ...]
    layers: tuple[LayerReading, ...]
    num_train: int
    num_test: int
    num_classes: int

    @property
    def chance(self) -> float:
        """Accuracy of naming all classes equally often, at random."""
        return 1 / self.num_classes


def read_by_layer(
    train: Sequence[Features],
    train_labels: Int[Tensor, " train"] | Int[np.ndarray, " train"],
    test: Sequence[Features],
    test_labels: Int[Tensor, " test"] | Int[np.ndarray, " test"],
    *,
    ks: Sequence[int] = KS,
    temperature: float | None = None,
    strengths: Sequence[float] = PENALTIES,
    folds: int = FOLDS,
    seed: int = 0,
) -> Reading:
    """Neighbours and a probe for every layer.

    Args:
        train: Feature sets of one model's layers, as `extract_features` gives them.
        train_labels: Classes of these images.
        test: The same layers, other images.
        test_labels: Classes of those.
        ks: Numbers of neighbours.
        temperature: As in `nearest_vote`.
        strengths: As in `linear_probe`; empty for no probe.
        folds: Likewise.
        seed: Likewise.

    Raises:
        ValueError: If the layers differ, or as `nearest_vote` and `linear_probe`.
    """
    if [part.layer for part in train] != [part.layer for part in test] or not train:
        raise ValueError(
            "read_by_layer needs the same layers of training and test images, at least one, but got "
            f"{[part.layer for part in train]} and {[part.layer for part in test]}."
        )
    layers = []
    for known, asked in zip(train, test, strict=True):
        check_apart(known, asked)
        votes = nearest_vote(known, train_labels, asked, test_labels, ks=ks, temperature=temperature)
        probe = None
        if strengths:
            found = linear_probe(
                known, train_labels, asked, test_labels, strengths=strengths, folds=folds, seed=seed
            )
            probe = found.accuracy
        layers.append(LayerReading(known.layer, tuple(vote.accuracy for vote in votes), probe))
    classes = np.unique(np.asarray(train_labels))
    return Reading(
        specimen=train[0].specimen,
        readout=train[0].readout,
        ks=tuple(ks),
        layers=tuple(layers),
        num_train=len(train[0]),
        num_test=len(test[0]),
        num_classes=len(classes),
    )
