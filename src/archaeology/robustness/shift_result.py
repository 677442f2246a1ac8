"""What an attack did to attention, beside noise of the same size: by head, by layer, and where the paths part."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from archaeology.core.bootstrap import bootstrap_ratios
from archaeology.core.intervals import Interval, bootstrap_means, wilson
from archaeology.core.many import corrected, sign_flip_test
from archaeology.core.registry import unknown_name
from archaeology.robustness.written import written

HEAD_MEASURES = ("shift", "readout_shift", "entropy", "distance")
STREAM_MEASURES = ("stream", "readout_stream")
LENGTHS = ("shift", "readout_shift", *STREAM_MEASURES)  # never below zero, so that a ratio says something


@dataclass(frozen=True, eq=False)
class AttentionShift:
    """How far attention moved in each image, under attack and under noise of the same norms.

    Head measures: "shift" (Jensen-Shannon divergence of rows, mean over queries, nats, 0 to log 2), "readout_shift" (of
    the readout's row), "entropy" (after minus before, nats) and "distance" (after minus before, pixels). Stream
    measures: "stream" (length of the change of a block's output over its length) and "readout_stream" (of what the
    classifier reads of it). NaN where something is not defined: places in windows, heads that a layer has not.

    Attributes:
        modules: Module path of each attention layer.
        heads: How many heads each has.
        blocks: Module path of each layer's block; empty where blocks cannot be told apart.
        attack: Head measures under attack.
        noise: Head measures under noise.
        stream_attack: Stream measures under attack; None without blocks.
        stream_noise: Stream measures under noise.
        changed: Whether the model's answer was another one, under attack and under noise.
        seed: Of the noise, and of resampling.
    """

    modules: tuple[str, ...]
    heads: tuple[int, ...]
    blocks: tuple[str, ...]
    attack: Float[np.ndarray, "image layer head measure"]
    noise: Float[np.ndarray, "image layer head measure"]
    stream_attack: Float[np.ndarray, "image layer stream_measure"] | None
    stream_noise: Float[np.ndarray, "image layer stream_measure"] | None
    changed: Bool[np.ndarray, "image 2"]
    seed: int

    @property
    def num_images(self) -> int:
        """How many pairs there are."""
        return len(self.attack)

    def by_layer(
        self, measure: str
    ) -> tuple[Float[np.ndarray, "image layer"], Float[np.ndarray, "image layer"]]:
        """A measure of every layer under attack and under noise; those of heads averaged over the layer's heads.

        Raises:
            UnknownNameError: If there is no such measure.
        """
        if measure in STREAM_MEASURES:
            column = STREAM_MEASURES.index(measure)
            none = np.full((self.num_images, len(self.modules)), np.nan)
            pair = (self.stream_attack, self.stream_noise)
            attack, noise = (none if part is None else part[:, :, column] for part in pair)
            return attack, noise
        if measure not in HEAD_MEASURES:
            raise unknown_name(
                "measure of attention under attack", measure, [*HEAD_MEASURES, *STREAM_MEASURES]
            )
        column = HEAD_MEASURES.index(measure)
        there = np.arange(max(self.heads)) < np.array(self.heads)[:, None]
        attack, noise = (
            np.where(there, part[..., column], 0).sum(axis=2) / np.array(self.heads)
            for part in (self.attack, self.noise)
        )
        return attack, noise

    def layer_table(self, *, correction: str = "holm") -> list[dict[str, object]]:
        """One row for each layer and measure that is defined there.

        Keys: `layer, module, measure, n`; `attack`, `noise` and `excess` (attack minus noise, paired), bootstrapped, in
        `_low` and `_high`; `ratio` (attack over noise, for measures that cannot be below zero, else None); `p` and
        `p_corrected` of the excess, by sign flips, corrected over the layers.
        """
        rows: list[dict[str, object]] = []
        for measure in (*HEAD_MEASURES, *STREAM_MEASURES):
            attack, noise = self.by_layer(measure)
            known = np.isfinite(attack).all(axis=0) & np.isfinite(noise).all(axis=0)
            layers = np.flatnonzero(known).tolist()
            for layer, row in zip(
                layers, self._rows(attack[:, known], noise[:, known], correction), strict=True
            ):
                ratio = (
                    self._ratio(attack[:, layer], noise[:, layer]) if measure in LENGTHS else _no_interval()
                )
                rows.append(
                    {"layer": layer, "module": self.modules[layer], "measure": measure}
                    | row
                    | written("ratio", ratio)
                )
        return rows

    def head_table(self, *, correction: str = "holm") -> list[dict[str, object]]:
        """One row for each head and measure that is defined there: `head` besides the keys of `layer_table`.

        P-values are corrected over all heads; there is no ratio.
        """
        rows: list[dict[str, object]] = []
        for column, measure in enumerate(HEAD_MEASURES):
            attack, noise = self.attack[..., column], self.noise[..., column]
            known = np.isfinite(attack).all(axis=0) & np.isfinite(noise).all(axis=0)
            places = np.argwhere(known).tolist()
            found = self._rows(attack[:, known], noise[:, known], correction)
            rows += [
                {"layer": layer, "head": head, "module": self.modules[layer], "measure": measure} | row
                for (layer, head), row in zip(places, found, strict=True)
            ]
        return rows

    def parting(self, measure: str = "shift", *, factor: float = 1.0, level: float = 0.05) -> int | None:
        """First layer where the attack surely moves more than `factor` times what noise moves; None if there is none.

        Sure: the sign-flip test over images, corrected over the layers (Holm), is below `level`.

        Args:
            measure: One that cannot be below zero: "shift", "readout_shift", "stream" or "readout_stream".
            factor: How many times the noise's movement is to be exceeded.
            level: Of the test.

        Raises:
            UnknownNameError: If there is no such measure, or it can be below zero.
        """
        if measure not in LENGTHS:
            raise unknown_name("measure that paths part by", measure, list(LENGTHS))
        attack, noise = self.by_layer(measure)
        beyond = attack - factor * noise
        known = np.isfinite(beyond).all(axis=0)
        if not known.any():
            return None
        p = corrected(sign_flip_test(beyond[:, known], seed=self.seed))
        sure = (p < level) & (beyond[:, known].mean(axis=0) > 0)
        layers = np.flatnonzero(known)[sure]
        return int(layers[0]) if len(layers) else None

    def describe(self) -> dict[str, object]:
        """All tables, the layers where the paths part, and how often answers changed, ready for JSON."""
        answers = {
            f"{name}_changed": vars(wilson(int(self.changed[:, column].sum()), self.num_images))
            for column, name in enumerate(("attack", "noise"))
        }
        return {
            "modules": list(self.modules),
            "blocks": list(self.blocks),
            "n": self.num_images,
            "seed": self.seed,
            **answers,
            "parting": {measure: self.parting(measure) for measure in LENGTHS},
            "parting_twice": {measure: self.parting(measure, factor=2.0) for measure in LENGTHS},
            "layers": self.layer_table(),
            "heads": self.head_table(),
        }

    def _rows(
        self,
        attack: Float[np.ndarray, "image place"],
        noise: Float[np.ndarray, "image place"],
        correction: str,
    ) -> list[dict[str, object]]:
        if attack.shape[1] == 0:
            return []
        excess = attack - noise
        intervals = bootstrap_means(np.concatenate([attack, noise, excess], axis=1), seed=self.seed)
        places = attack.shape[1]
        p = sign_flip_test(excess, seed=self.seed)
        p_corrected = corrected(p, correction)
        return [
            {"n": self.num_images}
            | written("attack", intervals[place])
            | written("noise", intervals[places + place])
            | written("excess", intervals[2 * places + place])
            | {"p": float(p[place]), "p_corrected": float(p_corrected[place])}
            for place in range(places)
        ]

    def _ratio(self, attack: Float[np.ndarray, " image"], noise: Float[np.ndarray, " image"]) -> Interval:
        return bootstrap_ratios(attack[:, None], noise[:, None], seed=self.seed).at(0)


def _no_interval() -> Interval:
    return Interval(np.nan, np.nan, np.nan, 0, "none")
