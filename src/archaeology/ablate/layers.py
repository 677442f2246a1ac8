"""Which layers matter: all heads of an attention layer silenced at once, or the MLP of a block.

Exact, as `ablate.heads`, by the same sweep. Replacing all heads' answers leaves the bias of the projection that mixes
them; replacing an MLP's output leaves nothing of it. Source: `michel2019sixteen` (whole layers of heads).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor

from archaeology.ablate.cuts import of_each_layer, of_each_mlp
from archaeology.ablate.effects import DELTA, Rule, effect_rows
from archaeology.ablate.trial import Outcomes, Trial, trial_of
from archaeology.core.shapes import Image, OtherImages, PixelImage
from archaeology.specimens.specimen import Specimen

PARTS = ("attention", "mlp")


@dataclass(frozen=True, eq=False)
class LayerAblation:
    """Each image with the model whole, and with each attention layer or MLP replaced in turn.

    Attributes:
        modules: Module path of each part, `(layer, part)`, part 0 the attention, part 1 the MLP if they were asked for.
        correct: 1 where the whole model is right, else 0.
        loss: Cross-entropy of the whole model, in nats.
        ablated_correct: The same with one part replaced.
        ablated_loss: The same with one part replaced.
        replacement: What was said instead: "mean", "zero" or "another".
    """

    modules: tuple[tuple[str, ...], ...]
    correct: Float[np.ndarray, " image"]
    loss: Float[np.ndarray, " image"]
    ablated_correct: Float[np.ndarray, "image layer part"]
    ablated_loss: Float[np.ndarray, "image layer part"]
    replacement: str

    def table(
        self, seed: int = 0, *, correction: str = "holm", level: float = 0.05, delta: float = DELTA
    ) -> list[dict[str, object]]:
        """One row for each part, `layer, part, module` and the keys of `effect_rows`; see `HeadAblation.table`."""
        places = [(layer, part) for layer, paths in enumerate(self.modules) for part in range(len(paths))]
        layers, parts = np.array(places).T
        rows = effect_rows(
            self.correct,
            self.loss,
            self.ablated_correct[:, layers, parts],
            self.ablated_loss[:, layers, parts],
            Rule(correction, level, delta, seed),
        )
        return [
            {"layer": layer, "part": PARTS[part], "module": self.modules[layer][part], **row}
            for (layer, part), row in zip(places, rows, strict=True)
        ]

    def arrays(self) -> dict[str, np.ndarray]:
        """Everything as arrays, for `numpy.savez`; `LayerAblation.from_arrays` takes them back."""
        return {
            "modules": np.array(self.modules),
            "correct": self.correct,
            "loss": self.loss,
            "ablated_correct": self.ablated_correct,
            "ablated_loss": self.ablated_loss,
            "replacement": np.array(self.replacement),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> "LayerAblation":
        """The result that `arrays()` wrote."""
        return cls(
            modules=tuple(tuple(str(path) for path in paths) for paths in arrays["modules"]),
            correct=np.asarray(arrays["correct"]),
            loss=np.asarray(arrays["loss"]),
            ablated_correct=np.asarray(arrays["ablated_correct"]),
            ablated_loss=np.asarray(arrays["ablated_loss"]),
            replacement=str(arrays["replacement"]),
        )


def ablate_layers(
    specimen: Specimen,
    images: Image | PixelImage,
    labels: Int[Tensor, " label"],
    *,
    replacement: str = "mean",
    others: OtherImages | None = None,
    seed: int = 0,
    with_mlps: bool = True,
    mlps: Sequence[str] | None = None,
    batch_size: int | None = None,
) -> LayerAblation:
    """Replace every attention layer, and every MLP, in turn, and keep what it did to each image.

    Args:
        specimen: A model with attention.
        images: Of any number.
        labels: Their classes.
        replacement: "mean" (over these images), "zero" or "another" (image's).
        others: For "another", the images whose answers are put in, one for each; drawn if None.
        seed: Of that drawing.
        with_mlps: Whether MLPs are replaced too; without them, models whose MLPs cannot be told apart can be examined.
        mlps: Module paths of the MLPs, one for each block, where they cannot be told apart.
        batch_size: Images at once; by itself if None.

    Raises:
        UnknownNameError: If there is no such replacement.
        ValueError: As `ablate_heads`, or if an MLP cannot be told apart; names the block.
        SelfCheckError: If the model shows no attention.
    """
    trial = trial_of(
        specimen,
        images,
        labels,
        replacement=replacement,
        others=others,
        seed=seed,
        batch_size=batch_size,
        with_mlps=with_mlps,
        mlps=mlps,
    )
    found = [trial.outcomes(of_each_layer(trial.sweep.heads))]
    if with_mlps:
        found.append(trial.outcomes(of_each_mlp(trial.sweep.heads)))
    return _result(trial, found, replacement)


def _result(trial: Trial, found: Sequence[Outcomes], replacement: str) -> LayerAblation:
    sweep = trial.sweep
    paths = [tuple(layer.module for layer in sweep.layers), sweep.mlps][: len(found)]
    return LayerAblation(
        modules=tuple(zip(*paths, strict=True)),
        correct=found[0].correct,
        loss=found[0].loss,
        ablated_correct=np.stack([part.cut_correct for part in found], axis=2),
        ablated_loss=np.stack([part.cut_loss for part in found], axis=2),
        replacement=replacement,
    )
