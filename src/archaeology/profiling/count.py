"""How much a model computes for one image: every product that PyTorch runs, counted while it runs.

Two FLOPs a multiply-add, of matrix products, convolutions and attention; norms, activations and additions are not
counted, as is the custom.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from archaeology.profiling.formula import plain_vit
from archaeology.profiling.subject import normalised_images
from archaeology.specimens.specimen import Specimen

#: Products of activations with one another: in a transformer, of tokens with tokens.
BETWEEN_TOKENS = ("bmm", "baddbmm", "dot_product_attention", "flash_attention", "efficient_attention")


@dataclass(frozen=True)
class Count:
    """The work of one image.

    Attributes:
        parameters: Numbers that were trained, or would be.
        weight_mebibytes: Memory that parameters and buffers take.
        flops: Counted.
        pair_flops: Those of them in products of activations with one another; in a plain ViT, all that grows with
            the square of the tokens.
        formula_flops: By the closed formula, for a plain ViT; None for all others.
    """

    parameters: int
    weight_mebibytes: float
    flops: int
    pair_flops: int
    formula_flops: int | None


def counted(specimen: Specimen) -> Count:
    """Run one image of noise and count.

    Raises:
        ValueError: If the model cannot take images of that size.
    """
    images = normalised_images(specimen, 1, seed=0)
    try:
        with torch.inference_mode(), _no_shortcuts(), FlopCounterMode(display=False) as counter:
            specimen.model(images)
    except (AssertionError, RuntimeError, ValueError) as error:
        height, width = specimen.image_size
        raise ValueError(
            f"{specimen.name} cannot take images of {height} x {width} pixels in {specimen.dtype} "
            f"({str(error).strip().partition(chr(10))[0]}); choose other --image-sizes or another --dtype."
        ) from error
    found: dict[Any, int] = dict(counter.get_flop_counts().get("Global", {}))
    tensors = [*specimen.model.parameters(), *specimen.model.buffers()]
    plain = plain_vit(specimen)
    return Count(
        parameters=specimen.num_parameters,
        weight_mebibytes=sum(tensor.numel() * tensor.element_size() for tensor in tensors) / 2**20,
        flops=sum(found.values()),
        pair_flops=sum(value for product, value in found.items() if _is_between_tokens(str(product))),
        formula_flops=None if plain is None else plain.flops,
    )


def _is_between_tokens(product: str) -> bool:
    name = product.rpartition(".")[2]
    return name in BETWEEN_TOKENS or any(word in name for word in BETWEEN_TOKENS[2:])


@contextmanager
def _no_shortcuts() -> Iterator[None]:
    """Without the one fused call of `nn.MultiheadAttention`, whose products the counter does not see."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)
