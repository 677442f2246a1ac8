"""What every head's removal did to every image, and what that says on average with paired intervals."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from archaeology.ablate.cuts import places_of
from archaeology.ablate.effects import DELTA, Rule, effect_rows


@dataclass(frozen=True, eq=False)
class HeadAblation:
    """Each image with the model whole, and with each head replaced in turn.

    Attributes:
        modules: Module path of each attention layer.
        heads: How many heads each layer has.
        correct: 1 where the whole model is right, else 0.
        loss: Cross-entropy of the whole model, in nats.
        ablated_correct: The same with one head replaced; NaN beyond a layer's last head.
        ablated_loss: The same with one head replaced; NaN beyond a layer's last head.
        replacement: What the head said instead: "mean", "zero" or "another".
        methods: How each layer was run: "short suffix", "suffix" or "whole pass"; all give the same numbers.
    """

    modules: tuple[str, ...]
    heads: tuple[int, ...]
    correct: Float[np.ndarray, " image"]
    loss: Float[np.ndarray, " image"]
    ablated_correct: Float[np.ndarray, "image layer head"]
    ablated_loss: Float[np.ndarray, "image layer head"]
    replacement: str
    methods: tuple[str, ...]

    def table(
        self, seed: int = 0, *, correction: str = "holm", level: float = 0.05, delta: float = DELTA
    ) -> list[dict[str, object]]:
        """One row for each head: what its removal costs, how surely, and in a word; all heads are corrected for.

        Keys: `layer, head, module` and those of `effect_rows`.

        Args:
            seed: Of resampling.
            correction: For many comparisons: "holm" or "benjamini-hochberg".
            level: Corrected p-values below it count.
            delta: Accuracy that may be lost or won by what is called useless; 0.001 is 0.1 points.

        Raises:
            UnknownNameError: If there is no such correction.
        """
        places = places_of(self.heads)
        layers, heads = np.array(places).T
        rows = effect_rows(
            self.correct,
            self.loss,
            self.ablated_correct[:, layers, heads],
            self.ablated_loss[:, layers, heads],
            Rule(correction, level, delta, seed),
        )
        return [
            {"layer": layer, "head": head, "module": self.modules[layer], **row}
            for (layer, head), row in zip(places, rows, strict=True)
        ]

    def arrays(self) -> dict[str, np.ndarray]:
        """Everything as arrays, for `numpy.savez`; `HeadAblation.from_arrays` takes them back."""
        return {
            "modules": np.array(self.modules),
            "heads": np.array(self.heads),
            "correct": self.correct,
            "loss": self.loss,
            "ablated_correct": self.ablated_correct,
            "ablated_loss": self.ablated_loss,
            "replacement": np.array(self.replacement),
            "methods": np.array(self.methods),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> "HeadAblation":
        """The result that `arrays()` wrote."""
        return cls(
            modules=tuple(str(module) for module in arrays["modules"]),
            heads=tuple(int(number) for number in arrays["heads"]),
            correct=np.asarray(arrays["correct"]),
            loss=np.asarray(arrays["loss"]),
            ablated_correct=np.asarray(arrays["ablated_correct"]),
            ablated_loss=np.asarray(arrays["ablated_loss"]),
            replacement=str(arrays["replacement"]),
            methods=tuple(str(method) for method in arrays["methods"]),
        )


def joined(parts: Sequence[HeadAblation]) -> HeadAblation:
    """The results of several chunks of images as one, in the order given.

    Raises:
        ValueError: If there is none, or they speak of different heads or replacements.
    """
    if not parts:
        raise ValueError("joined needs at least one result, but got none.")
    kinds = {(part.modules, part.heads, part.replacement) for part in parts}
    if len(kinds) > 1:
        raise ValueError(
            "only ablations of the same model with the same replacement can be joined, but got "
            f"{len(kinds)} different ones; run the chunks again."
        )
    first = parts[0]
    return HeadAblation(
        modules=first.modules,
        heads=first.heads,
        correct=np.concatenate([part.correct for part in parts]),
        loss=np.concatenate([part.loss for part in parts]),
        ablated_correct=np.concatenate([part.ablated_correct for part in parts]),
        ablated_loss=np.concatenate([part.ablated_loss for part in parts]),
        replacement=first.replacement,
        methods=first.methods,
    )
