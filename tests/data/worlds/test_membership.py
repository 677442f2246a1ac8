"""Which tokens hold a shape, against loops over patches."""

import pytest
import torch

from archaeology.data.worlds.membership import token_membership


def by_loops(owner: torch.Tensor, num_shapes: int, size: int, min_share: float) -> torch.Tensor:
    images = owner if owner.ndim == 3 else owner[:, None]
    high = size if owner.ndim == 3 else 1
    rows, columns = images.shape[1] // high, images.shape[2] // size
    members = torch.zeros(len(owner), num_shapes, rows * columns, dtype=torch.bool)
    for example, image in enumerate(images.tolist()):
        for shape in range(num_shapes):
            shares = []
            for row in range(rows):
                for column in range(columns):
                    patch = [
                        image[row * high + y][column * size + x] for y in range(high) for x in range(size)
                    ]
                    shares.append(patch.count(shape) / len(patch))
            for token, share in enumerate(shares):
                is_best = max(shares) < min_share and share == max(shares)
                members[example, shape, token] = share > 0 and (share >= min_share or is_best)
    return members


@pytest.mark.parametrize("min_share", [0.1, 0.25, 0.5, 1.0])
@pytest.mark.parametrize("shape", [(3, 35), (2, 10, 15)])
def test_membership_is_that_of_loops(shape: tuple[int, ...], min_share: float) -> None:
    generator = torch.Generator().manual_seed(len(shape))
    owner = torch.randint(-1, 4, shape, generator=generator)
    owner[0] = -1
    owner[0].flatten()[7] = 2  # a single sample
    owner[-1][..., :5] = 1
    found = token_membership(owner, 6, 5, min_share)
    assert torch.equal(found, by_loops(owner, 6, 5, min_share))
    assert torch.equal(token_membership(owner.to(torch.int16), 6, 5, min_share), found)


def test_tokens_go_row_by_row_and_a_thin_shape_keeps_its_best_patches() -> None:
    owner = torch.full((1, 6, 9), -1)
    owner[0, 0:3, 6:9] = 0  # the third patch of the first row
    owner[0, 3, 2:5] = 1  # one pixel in the fourth patch, two in the fifth
    found = token_membership(owner, 3, 3, min_share=0.5)
    assert found[0].nonzero().tolist() == [[0, 2], [1, 4]]
    owner[0, 3, 1] = 1  # two and two
    assert token_membership(owner, 3, 3, min_share=0.5)[0, 1].nonzero().flatten().tolist() == [3, 4]


@pytest.mark.parametrize(
    ("owner", "options", "message"),
    [
        (torch.zeros(4, dtype=torch.long), {}, r"\(batch, length\) or \(batch, height, width\)"),
        (torch.zeros(1, 7, dtype=torch.long), {}, "patch_size must divide the sides"),
        (torch.zeros(1, 6, dtype=torch.long), {"patch_size": 0}, "patch_size must divide the sides"),
        (torch.zeros(1, 6, dtype=torch.long), {"min_share": 0.0}, "min_share must lie above 0"),
        (torch.zeros(1, 6, dtype=torch.long), {"min_share": 1.5}, "min_share must lie above 0"),
        (torch.full((1, 6), 2), {}, r"owner must lie in -1..1, but got 2 to 2"),
        (torch.full((1, 6), -2), {}, r"owner must lie in -1..1, but got -2 to -2"),
    ],
)
def test_bad_input_is_refused(owner: torch.Tensor, options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        token_membership(owner, **{"num_shapes": 2, "patch_size": 3, **options})  # pyright: ignore
