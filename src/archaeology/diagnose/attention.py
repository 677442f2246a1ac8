"""Attention that does nothing: heads that look everywhere alike, and heads that nobody hears."""

from collections.abc import Iterator
from statistics import median

import torch

from archaeology.diagnose.diagnosis import Case, Diagnosis, checks

# Nats below log(keys): a row whose weights scatter by a relative deviation d lies about d^2 / 2 below, so here keys
# differ by a fifth. Single heads of good models come down to 0.01, but no layer of them has all its heads below 0.3.
UNIFORM_NATS = 0.02
# Of the median strength of its layer: a head below a hundredth is lost in the rounding of bfloat16.
DEAD_SHARE = 0.01


@checks.register("uniform_attention")
def uniform_attention(case: Case) -> Iterator[Diagnosis]:
    """All heads of a layer look at all keys alike: the layer averages, and cannot choose."""
    layers = [
        layer
        for layer in case.attention
        if layer.num_keys > 1 and bool((layer.below_uniform < UNIFORM_NATS).all())
    ]
    if not layers:
        return
    listed = ", ".join(layer.words for layer in layers)
    worst = max(float(layer.below_uniform.max()) for layer in layers)
    keys = layers[0].num_keys
    yield Diagnosis(
        "uniform_attention",
        f"all heads of {listed} look at all keys alike: entropy within {worst:.2g} nats of the log of "
        f"the keys seen (log {keys} = {torch.tensor(float(keys)).log():.3f} in the first)",
        "queries and keys have not learned: train for longer or with a higher rate for them, check that their weights "
        "are trained at all (--freeze, weight decay), and normalise before attention (norm='pre')",
        {layer.module: layer.below_uniform.tolist() for layer in layers},
    )


@checks.register("dead_heads")
def dead_heads(case: Case) -> Iterator[Diagnosis]:
    """Heads whose answer, once projected, is negligible against the other heads."""
    everywhere = [float(layer.strength.median()) for layer in case.attention if layer.is_projected]
    usual = median(everywhere) if everywhere else 0.0
    dead: dict[str, list[int]] = {}
    words: list[str] = []
    for layer in case.attention:
        floor = (
            DEAD_SHARE * usual if layer.is_projected else 0.0
        )  # for a layer whose heads are dead all together
        against = max(float(layer.strength.median()), floor)
        heads = torch.nonzero(layer.strength <= DEAD_SHARE * against).flatten().tolist()
        if heads:
            dead[layer.module] = heads
            shares = max(float(layer.strength[head]) for head in heads) / against if against else 0.0
            number = "head" if len(heads) == 1 else "heads"
            words.append(
                f"{number} {', '.join(map(str, heads))} of {layer.words} (at most {shares:.2g} of what its layer's "
                f"median head adds, {against:.3g})"
            )
    if dead:
        yield Diagnosis(
            "dead_heads",
            f"of {sum(len(layer.strength) for layer in case.attention)} heads, these add next to nothing: "
            + "; ".join(words),
            "fewer heads would do (num_heads), or less weight decay and a longer warm-up keep them alive; "
            "`archaeology dig` says what removing each one costs",
            {"heads": dead},
        )
