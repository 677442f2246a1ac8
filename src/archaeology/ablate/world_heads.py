"""Which heads a redrawing needs: replace each by its mean answer, and see how much worse every score gets.

Mean ablation as in `ablate.heads`, for models that map examples of a world to their targets: judged by scores that are
ratios of sums over samples, paired over the same samples.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from archaeology.ablate.head_map import Layer, attention_layers, head_map
from archaeology.ablate.means import mean_answers
from archaeology.capture.edit import HeadEdit
from archaeology.capture.interceptor import intercepted
from archaeology.core.bootstrap import Intervals, bootstrap_of
from archaeology.data.worlds.ratio import Ratio


@runtime_checkable
class Examples(Protocol):
    """What every batch of a world is."""

    def pair(self) -> tuple[Tensor, Tensor]:
        """Input and target."""
        ...

    def part(self, start: int, stop: int) -> Any:
        """Some of the samples."""
        ...

    def __len__(self) -> int: ...


Batch = TypeVar("Batch", bound=Examples)
Scores = Callable[[Batch, Tensor], Mapping[str, Ratio]]


@dataclass(frozen=True, eq=False)
class WorldAblation:
    """Scores of each sample in several runs: with the model whole, and with each head replaced by its mean.

    Attributes:
        layers: Attention layers in the order of the pass.
        names: Of the scores.
        part: Of the scores' ratios; run 0 is the whole model, then come all heads, layer by layer.
        whole: Likewise.
    """

    layers: tuple[Layer, ...]
    names: tuple[str, ...]
    part: Float[np.ndarray, "sample score run"]
    whole: Float[np.ndarray, "sample score run"]

    def scores(self, *, seed: int = 0) -> Intervals:
        """Scores of the whole model, in the order of `names`."""
        return self._bootstrap(range(len(self.names)), lambda ratios: ratios[..., 0], seed)

    def rise(self, *names: str, seed: int = 0) -> Intervals:
        """By how much a score rises when a head is replaced: `(layer, head)`, NaN beyond a layer's last head.

        Args:
            names: One score, or several whose mean is meant.
            seed: Of the resampling.

        Raises:
            ValueError: If no score is named, or one that there is not.
        """
        return head_map(self.layers, self._bootstrap(self._places(names), _rise, seed))

    def above_median(self, *names: str, seed: int = 0) -> Intervals:
        """How far the rise of each head lies above that of the median head; arguments and shape as in `rise`."""

        def above(ratios: np.ndarray) -> np.ndarray:
            rise = _rise(ratios)
            return rise - np.median(rise, axis=1, keepdims=True)

        return head_map(self.layers, self._bootstrap(self._places(names), above, seed))

    def _places(self, names: Sequence[str]) -> list[int]:
        if not names or not set(names) <= set(self.names):
            raise ValueError(f"names must be some of the scores {list(self.names)}, but got {list(names)}.")
        return [self.names.index(name) for name in names]

    def _bootstrap(
        self, places: Sequence[int], formula: Callable[[np.ndarray], np.ndarray], seed: int
    ) -> Intervals:
        both = np.stack([self.part[:, places], self.whole[:, places]], axis=1)
        return bootstrap_of(both, lambda means: formula(means[:, 0] / means[:, 1]), seed=seed)


@torch.no_grad()
def ablate_world_heads(
    model: nn.Module, batch: Batch, scores: Scores[Batch], *, batch_size: int = 100
) -> WorldAblation:
    """Replace every head of every layer by its mean over the samples, one after the other.

    Costs one pass over the samples for each head, and two more.

    Args:
        model: Maps inputs to predictions of the target; it is run in evaluation mode.
        batch: Samples of a world, where the model is.
        scores: Marks predictions sample by sample, such as `shapes2d_scores.scores`.
        batch_size: Samples at once.

    Raises:
        ValueError: If there is no sample, or the model shows no attention.
    """
    parts = [batch.part(start, start + batch_size) for start in range(0, len(batch), batch_size)]
    was_training = model.training
    model.eval()
    try:
        means = mean_answers(model, model, (part.pair()[0] for part in parts))
        layers = attention_layers(model, batch.part(0, 1).pair()[0])
        runs: list[HeadEdit | None] = [None]
        for number, layer in enumerate(layers):
            heads = torch.arange(layer.num_heads).split(1)
            runs += [HeadEdit(number, head, means[number]) for head in heads]
        marks = [_marks(model, part, scores, runs) for part in parts]
    finally:
        model.train(was_training)
    part, whole = (np.concatenate([mark[side] for mark in marks]) for side in (0, 1))
    return WorldAblation(layers, marks[0][2], part, whole)


def _marks(
    model: nn.Module, batch: Batch, scores: Scores[Batch], runs: Sequence[HeadEdit | None]
) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Part and whole of every score `(sample, score, run)`, and the scores' names."""
    inputs, _ = batch.pair()
    found: list[Mapping[str, Ratio]] = []
    for run in runs:
        edit = None if run is None else HeadEdit(run.layer, run.head.expand(len(batch)), run.replacement)
        with intercepted(model, None, edit=edit):
            found.append(scores(batch, model(inputs)))
    names = tuple(found[0])

    def table(read: Callable[[Ratio], Tensor]) -> np.ndarray:
        columns = [torch.stack([read(marks[name]) for name in names], dim=1) for marks in found]
        return torch.stack(columns, dim=2).double().cpu().numpy()

    return table(lambda ratio: ratio.part), table(lambda ratio: ratio.whole), names


def _rise(ratios: Float[np.ndarray, "resample score run"]) -> Float[np.ndarray, "resample head"]:
    mean = ratios.mean(axis=1)
    return mean[:, 1:] - mean[:, :1]
