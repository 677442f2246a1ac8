"""Square Attack: random squares of colour, each kept if it brings the model nearer to being wrong; no gradients at all.

The squares get smaller as queries are spent. It needs only answers, so it still works where gradients are masked: a
model that withstands gradient attacks better than this one is hiding its gradients, not robust.

Source: `andriushchenko2020square`, algorithms 1 to 3. Differs: places and signs are drawn for each image from its own
pixels, so an image gets the same alone and in any batch; and a square that changes nothing is not drawn again.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from archaeology.attacks.climb import check_counts
from archaeology.attacks.losses import margin
from archaeology.attacks.method import Aim, attack
from archaeology.attacks.nearest import enough
from archaeology.attacks.norms import TINY, each, lengths
from archaeology.attacks.square_shapes import bump, placed, window
from archaeology.attacks.victim import Victim
from archaeology.core.seeding import torch_generator
from archaeology.core.shapes import Image

HALVINGS = (
    10,
    50,
    200,
    500,
    1000,
    2000,
    4000,
    6000,
    8000,
)  # of the share, when this many of 10000 queries are spent
PLACES = 5  # numbers in [0, 1) for each query: two corners and whether a bump lies on its side; then one per channel
AHEAD = 64  # queries whose numbers are drawn together


@attack("square", title="Square", norms=("linf", "l2"), uses_gradients=False)
def square(victim: Victim, aim: Aim, *, queries: int = 1000, share: float = 0.8) -> Image:
    """The images where the model is wrong, or the best ones tried where it never was.

    Args:
        victim: The model.
        aim: What to break.
        queries: Answers asked for per image, at least 1; an image that the model is wrong about asks no more.
        share: Of the image's area that the first squares cover, in (0, 1].

    Raises:
        ValueError: If a number is out of its range.

    References:
        `andriushchenko2020square`. Differs: see the module.
    """
    check_counts(queries=queries)
    if not 0 < share <= 1:
        raise ValueError(f"share of the area must lie above 0 and be at most 1, but got {share=}.")
    found, rows = aim.images.clone(), aim.rows
    sources = [torch_generator(aim.seed, "attack", "square", name) for name in aim.names]
    images = striped(aim, sources) if aim.norm == "linf" else bumped(aim, sources)
    best = aim.images.new_full((len(aim),), -torch.inf)
    here = aim
    drawn = torch.empty(0)
    tried = images
    for query in range(queries):
        logits = victim.logits(tried, rows)
        lead = margin(logits, here.labels) - enough(logits)
        better = lead > best
        images, best = torch.where(each(better), tried, images), torch.where(better, lead, best)
        found[rows] = images
        stands = (best <= 0).nonzero()[:, 0]
        if not len(stands) or query == queries - 1:
            break
        number = query % AHEAD
        if number == 0:
            drawn = uniform(sources, aim.images.shape[1], rows)
        if len(stands) < len(rows):
            here, images, best, rows, drawn = (
                here.only(stands), images[stands], best[stands], rows[stands], drawn[stands],
            )  # fmt: skip
        side = side_of(share, query, queries, images)
        change = with_square if aim.norm == "linf" else with_bump
        tried = change(images, here, drawn[:, number], side)
    return found


def side_of(share: float, query: int, queries: int, images: Image) -> int:
    """Pixels of a square's side when so many queries are spent: its area falls by halves."""
    spent = query * 10000 // queries
    area = share / 2 ** sum(spent > limit for limit in HALVINGS) * images.shape[2] * images.shape[3]
    return min(max(round(area**0.5), 1), *images.shape[2:])


def uniform(
    sources: list[torch.Generator], channels: int, rows: Int[Tensor, " batch"]
) -> Float[Tensor, "batch ahead number"]:
    """Numbers in [0, 1) for the next queries of each image, from its own source."""
    shape = (AHEAD, PLACES + channels)
    drawn = [torch.rand(shape, generator=sources[row], dtype=torch.float64) for row in rows.tolist()]
    return torch.stack(drawn).to(rows.device)


def signs(drawn: Float[Tensor, " *any"], images: Image) -> Float[Tensor, " *any"]:
    """-1 or 1 for each number in [0, 1)."""
    return (1 - 2 * (drawn < 0.5).to(images.dtype)).to(images.device)


def corners(
    drawn: Float[Tensor, "batch number"], first: int, side: int, images: Image
) -> tuple[Int[Tensor, " batch"], Int[Tensor, " batch"]]:
    """Top and left of a square within the image, from two numbers beginning with the first."""
    height, width = images.shape[2:]
    top = (drawn[:, first] * (height - side + 1)).long()
    return top, (drawn[:, first + 1] * (width - side + 1)).long()


def striped(aim: Aim, sources: list[torch.Generator]) -> Image:
    """Where the search in "linf" begins: every column of every channel goes up or down by epsilon."""
    channels, _, width = aim.images.shape[1:]
    drawn = torch.stack([torch.rand((channels, 1, width), generator=source) for source in sources])
    return (aim.images + each(aim.epsilon) * signs(drawn, aim.images)).clamp(0, 1)


def with_square(images: Image, aim: Aim, drawn: Float[Tensor, "batch number"], side: int) -> Image:
    """Images with one square each where every channel has gone up or down by epsilon."""
    inside = window(images, *corners(drawn, 0, side, images), side)
    colour = each(aim.epsilon) * signs(drawn[:, PLACES:], images)[:, :, None, None]
    return torch.where(inside, (aim.images + colour).clamp(0, 1), images)


def bumped(aim: Aim, sources: list[torch.Generator]) -> Image:
    """Where the search in "l2" begins: bumps side by side, five a side where the image is large enough."""
    channels, height, width = aim.images.shape[1:]
    side = max(min(height, width) // 5, 1)
    down, across = height // side, width // side
    drawn = torch.stack([torch.rand((channels, down, across), generator=source) for source in sources])
    tiled = bump(side, aim.images).repeat(down, across)
    way = signs(drawn, aim.images).repeat_interleave(side, 2).repeat_interleave(side, 3)
    change = torch.zeros_like(aim.images)
    change[:, :, : down * side, : across * side] = tiled * way
    return of_full_length(change, aim)


def of_full_length(change: Image, aim: Aim) -> Image:
    """Images with this change, made as long as epsilon."""
    return (aim.images + each(aim.epsilon / lengths(change).clamp(min=TINY)) * change).clamp(0, 1)


def with_bump(images: Image, aim: Aim, drawn: Float[Tensor, "batch number"], side: int) -> Image:
    """Images where the change in one square is gone, and what it had of epsilon is spent on a bump in another."""
    odd = max(side, 3) // 2 * 2 + 1
    side = min(odd, *images.shape[2:])
    change = images - aim.images
    corner = corners(drawn, 0, side, images)
    here = window(images, *corner, side)
    there = window(images, *corners(drawn, 2, side, images), side)
    shape = placed(bump(side, images), corner, images)
    on_its_side = placed(bump(side, images).T.contiguous(), corner, images)
    shape = torch.where(each(drawn[:, 4] < 0.5), shape, on_its_side)
    way = signs(drawn[:, PLACES:], images)[:, :, None, None]
    old = change * here
    mixed = shape * way + old / channel_lengths(old).clamp(min=TINY)
    unspent = (aim.epsilon**2 - lengths(change) ** 2).clamp(min=0) / images.shape[1]
    room = (each(unspent) + channel_lengths(change * (here | there)) ** 2).sqrt()
    new = mixed / channel_lengths(mixed).clamp(min=TINY) * room
    return of_full_length(torch.where(here, new, change * ~there), aim)


def channel_lengths(change: Image) -> Float[Tensor, "batch channel 1 1"]:
    """Euclidean length of the change of each channel."""
    return change.flatten(2).norm(dim=2)[:, :, None, None]
