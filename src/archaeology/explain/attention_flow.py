"""Attention flow: how much could run from the readout to each patch if attention were pipes of that width.

Every layer connects tokens by pipes of capacity `A = 0.5 * mean over heads + 0.5 * I`, rows summing to one as in
rollout; a patch's value is the maximum flow from the readout to it, each patch having all pipes to itself. Source:
`abnar2020quantifying`. A flow never passes what the readout sends (one) or what the first layer lets through to the
patch, and with many layers that is often all that holds it back: the fact `at_first_layer` says for which share of the
patches. Then a map tells of the first layer only. Differs: capacities are rounded to multiples of 2^-30, for an exact
solver of whole numbers; a flow is wrong by at most 2^-31 for each pipe of its narrowest cut, 2e-5 if that had all
197 x 197 pipes of a layer and about 1e-8 in practice.
"""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from archaeology.capture.record import Record
from archaeology.explain.explanation import Explanation
from archaeology.explain.layers import Layers, layers_of
from archaeology.explain.method import of_record
from archaeology.explain.readout import patch_map

UNIT = 2**30
#: Measured on a CPU for 65 to 197 tokens and 12 layers; what is estimated from it is the order of magnitude.
SECONDS_PER_PIPE = 4e-8


@of_record("attention_flow", title="Attention flow", patterns=True, looks_at_class=False)
def attention_flow(record: Record, *, most_seconds: float = 60.0) -> Explanation:
    """Maximum flow from the model's readout to each patch; looks at no class.

    One flow is solved for each patch of each image: about 3 seconds an image at 197 tokens and 12 layers.

    Args:
        record: Captured with patterns, from a model whose layers all see all tokens.
        most_seconds: What an image may take by estimate; it grows with layers and with the cube of tokens.

    Raises:
        ValueError: If the model has no token layout, its layers see windows, or the estimate is above `most_seconds`.

    References:
        `abnar2020quantifying`. Differs: see the module.
    """
    layers = layers_of(record, "attention_flow")
    _check_size(layers, most_seconds)
    start = layers.start(lambda pool: pool.pattern.mean(dim=1))
    matrices = [_capacities(fused) for fused in layers.last_to_first(lambda layer: layer.pattern.mean(dim=1))]
    start = start.clamp(min=0) / start.clamp(min=0).sum(dim=1, keepdim=True)
    rows, shares = zip(
        *(
            flows(
                start[image], torch.stack([matrix[image] for matrix in matrices]), layers.layout.num_patches
            )
            for image in range(len(start))
        ),
        strict=True,
    )
    return Explanation(
        heatmap=patch_map(torch.stack(rows), layers.layout),
        method="attention_flow",
        parameters={"most_seconds": most_seconds},
        formula=(
            f"maximum flow from the {layers.readout} readout to each patch through {len(layers)} layers of pipes "
            "A = 0.5 * mean over heads + 0.5 * I, rows sum to one"
        ),
        facts={"at_first_layer": torch.tensor(shares).to(start)},
    )


def flows(
    start: Float[Tensor, " token"], last_to_first: Float[Tensor, "layer token token"], num_sinks: int
) -> tuple[Float[Tensor, " sink"], float]:
    """Maximum flow of one image to its last `num_sinks` input tokens, and the share of them that the first layer holds.

    NaN where a capacity is not finite.

    Args:
        start: What the readout sends to each token after the last layer.
        last_to_first: Capacity from each token to each token of the layer before.
        num_sinks: How many tokens are patches.
    """
    from scipy.sparse.csgraph import maximum_flow  # slow to import, and nobody else here needs it

    if not bool(torch.isfinite(start).all() and torch.isfinite(last_to_first).all()):
        return start.new_full((num_sinks,), torch.nan), float("nan")
    graph = _graph(start, last_to_first)
    source = graph.shape[0] - 1
    tokens = range(len(start) - num_sinks, len(start))
    found = np.array([maximum_flow(graph, source, token).flow_value for token in tokens])
    at_most = np.asarray(graph[:, tokens.start : tokens.stop].sum(axis=0, dtype=np.int64)).ravel()
    return torch.from_numpy(found / UNIT).to(start), float((found >= at_most).mean())


def _graph(start: Float[Tensor, " token"], last_to_first: Float[Tensor, "layer token token"]) -> Any:
    """The pipes as a sparse matrix of whole numbers: nodes are the tokens, layer after layer, then the source."""
    from scipy.sparse import csr_array

    tokens, layers = len(start), len(last_to_first)
    capacity = (last_to_first.flip(0).double() * UNIT).round().to(torch.int32).cpu().numpy()
    layer, query, key = np.nonzero(capacity)
    sent = (start.double() * UNIT).round().to(torch.int32).cpu().numpy()
    (first,) = np.nonzero(sent)
    source = (layers + 1) * tokens
    ways_in = np.concatenate([(layer + 1) * tokens + query, np.full(len(first), source)])
    ways_out = np.concatenate([layer * tokens + key, layers * tokens + first])
    width = np.concatenate([capacity[layer, query, key], sent[first]])
    return csr_array((width, (ways_in, ways_out)), shape=(source + 1, source + 1))


def _capacities(fused: Float[Tensor, "batch query key"]) -> Float[Tensor, "batch query key"]:
    """`(fused + I) / row sums`; what talking heads make negative lets nothing through."""
    fused = fused.clamp(min=0)
    identity = torch.eye(fused.shape[-1], dtype=fused.dtype, device=fused.device)
    return (fused + identity) / (fused.sum(dim=-1, keepdim=True) + 1)


def _check_size(layers: Layers, most_seconds: float) -> None:
    tokens, count = layers.layout.num_tokens + layers.num_late, len(layers)
    seconds = tokens**2 * count * layers.layout.num_patches * SECONDS_PER_PIPE
    if seconds > most_seconds:
        raise ValueError(
            f"attention_flow must take at most {most_seconds=} for each image, but {layers.layout.num_patches} flows "
            f"through {count} layers of {tokens} x {tokens} pipes take about {seconds:.0f} seconds; use rollout, or "
            "allow more time."
        )
