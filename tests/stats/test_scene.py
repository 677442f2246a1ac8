"""Edges, colours and objects on the patch grid against loops, and what is refused."""

import pytest
import torch
from tests.oracles import specialization as oracle

from archaeology.specimens.layout import TokenLayout
from archaeology.stats.scene import edge_energy, inside_boxes, scene_of

LAYOUT = TokenLayout(2, 3, ("class",))


def images(count=2, seed=0):
    return torch.randint(
        0, 256, (count, 3, 8, 15), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed)
    )


def test_edges_and_colours_equal_loops():
    scene = scene_of(images(), LAYOUT)
    for index, image in enumerate((images().double() / 255).tolist()):
        wanted = torch.tensor(oracle.edge_energy(image, 2, 3), dtype=torch.float64)
        torch.testing.assert_close(scene.edges[index], wanted, rtol=1e-9, atol=1e-12)
        wanted = torch.tensor(oracle.patch_colours(image, 2, 3), dtype=torch.float64)
        torch.testing.assert_close(scene.colours[index], wanted, rtol=1e-9, atol=1e-12)
    assert scene.inside.isnan().all()


def test_a_straight_step_is_one_beside_it_and_a_flat_image_has_no_edge_at_all():
    step = torch.zeros(1, 3, 4, 6, dtype=torch.float64)
    step[..., 3:] = 1
    assert edge_energy(step, (4, 6))[0].reshape(4, 6)[0].tolist() == pytest.approx([0, 0, 1, 1, 0, 0])
    assert edge_energy(torch.full((1, 3, 4, 6), 0.37), (2, 3)).eq(0).all()


@pytest.mark.parametrize("box", [(2.0, 1.0, 11.0, 5.0), (-3.0, 0.0, 4.5, 30.0), (6.25, 2.5, 6.25, 7.0)])
def test_box_covers_the_share_that_counting_points_gives(box):
    inside = inside_boxes(torch.tensor([box]), (8, 15), (2, 3))[0]
    wanted = torch.tensor(oracle.inside_box(box, 8, 15, 2, 3), dtype=torch.float64)
    torch.testing.assert_close(inside, wanted, rtol=0, atol=0.02)


def test_box_and_the_mask_of_its_pixels_say_the_same_and_unknown_is_nan():
    boxes = torch.tensor([[2.0, 1.0, 11.0, 5.0], [torch.nan] * 4])
    masks = torch.zeros(2, 8, 15, dtype=torch.bool)
    masks[0, 1:5, 2:11] = True
    by_box, by_mask = (scene_of(images(), LAYOUT, boxes=boxes), scene_of(images(), LAYOUT, masks=masks))
    torch.testing.assert_close(by_box.inside, by_mask.inside, equal_nan=True)
    assert by_box.inside[1].isnan().all() and by_box.inside[0].isfinite().all()


def test_bad_boxes_and_masks_are_refused():
    box, mask = torch.zeros(2, 4), torch.ones(2, 8, 15, dtype=torch.bool)
    with pytest.raises(ValueError, match=r"boxes must be \(image, 4\).*got shape \(2, 5\)"):
        scene_of(images(), LAYOUT, boxes=torch.zeros(2, 5))
    with pytest.raises(ValueError, match="must have x_min <= x_max"):
        scene_of(images(), LAYOUT, boxes=box - torch.tensor([0, 0, 0, 1.0]))
    with pytest.raises(ValueError, match=r"masks must be \(image, height, width\) of the images, \(8, 15\)"):
        scene_of(images(), LAYOUT, masks=mask[:, :7])
    with pytest.raises(ValueError, match="as many as images, but got 2 for 3 images"):
        scene_of(images(3), LAYOUT, boxes=box)
    with pytest.raises(ValueError, match="got both; give one of them"):
        scene_of(images(), LAYOUT, boxes=box, masks=mask)
