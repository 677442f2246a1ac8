"""How many images an attack works on before it goes on to the next: what it needs beside the model must fit.

A model is asked about `at_once` images. But an attack also keeps copies of all the images it is at: where they began,
where they are, the best so far, momentum, what is drawn at random, gradients, and the checks at the end in float64.
Ten thousand images of 224 x 224 are 6 GB, and two dozen copies of them fit nowhere. So they are attacked in portions.
An image gets the same result alone and in any batch (up to rounding inside the model), so nothing else changes.
"""

from collections.abc import Iterator

from archaeology.core.shapes import Image

COPIES = 24  # of the images, at most, float64 counted twice; PGD needs 13, Auto-PGD and C&W about 20
MOST_BYTES = 2**30


def portion_size(images: Image, at_once: int, most_bytes: int = MOST_BYTES) -> int:
    """How many of these images to attack before the next: a multiple of `at_once`, never fewer than these.

    It follows from their size alone, not from what this machine has free, so that results are the same everywhere.

    Args:
        images: All of them.
        at_once: That the model is asked about.
        most_bytes: For copies.
    """
    fitting = most_bytes // (COPIES * images[0].numel() * images.element_size())
    return at_once * max(1, fitting // at_once)


def portions(total: int, size: int) -> Iterator[slice]:
    """Which images, portion after portion."""
    for start in range(0, total, size):
        yield slice(start, min(start + size, total))
