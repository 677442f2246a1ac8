"""Records made of random patterns and gradients, of every kind of readout, in float64."""

from dataclasses import replace

import torch
from tests.explain.test_rollout import record

from archaeology.capture.record import CapturedPattern, Record
from archaeology.specimens.layout import TokenLayout

CLASS = TokenLayout(2, 3, ("class",))
LAYOUTS = {
    "class token": CLASS,
    "mean of patches": TokenLayout(2, 3, ("class",), "mean"),
    "registers": TokenLayout(1, 4, ("class", "register", "register")),
    "distillation token": TokenLayout(1, 5, ("class", "distillation")),
    "registers, mean": TokenLayout(1, 5, ("register", "register"), "mean"),
}


def with_gradients(layout: TokenLayout = CLASS, *ending: CapturedPattern, **sizes: int) -> Record:
    """Three layers of five heads on two images (unless sizes say otherwise) and what comes after them."""
    made = record(layout, **sizes)
    generator = torch.Generator().manual_seed(1)
    return replace(
        made,
        target=torch.tensor([1, 0])[: len(made.images)],
        attentions=tuple(
            replace(
                layer,
                pattern_gradient=torch.randn(layer.pattern.shape, generator=generator, dtype=torch.float64),
            )
            for layer in (*made.attentions, *ending)
        ),
    )


def pool(keys: int, queries: int = 1) -> CapturedPattern:
    """An attention pool, or class attention, over so many tokens."""
    generator = torch.Generator().manual_seed(keys)
    return CapturedPattern(
        "pool", "pool", torch.rand(2, 3, queries, keys, generator=generator, dtype=torch.float64)
    )


def lists(made: Record, image: int) -> tuple[list, list]:
    """Patterns and gradients of one image, by layer."""
    patterns = [layer.pattern[image].tolist() for layer in made.attentions]
    return patterns, [layer.pattern_gradient[image].tolist() for layer in made.attentions]


def readout_of(layout: TokenLayout, whole: list) -> torch.Tensor:
    """The readout's row of a whole matrix, its patches on their grid; by hand, not by the code under test."""
    whole = torch.tensor(whole, dtype=torch.float64)
    row = whole[0] if layout.readout == "class_token" else whole[layout.num_prefix :].mean(0)
    return row[layout.num_prefix :].view(layout.rows, layout.columns)


def without_gradient(made: Record) -> Record:
    """The same, its second layer before the graph."""
    first, second, *rest = made.attentions
    return replace(made, attentions=(first, replace(second, pattern_gradient=None), *rest))


def with_nan(made: Record) -> Record:
    """The same, with a NaN in the pattern of the first image."""
    broken = made.attentions[1].pattern.clone()
    broken[0, 2, 3, 4] = torch.nan
    first, second, *rest = made.attentions
    return replace(made, attentions=(first, replace(second, pattern=broken), *rest))
