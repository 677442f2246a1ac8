"""The greedy order against whole passes and loops; on planted heads it keeps an understudy that single effects lose."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tests.ablate import planted
from tests.ablate import small_models as small

from archaeology.ablate import pruning_curve
from archaeology.capture.edit import Edits, HeadEdit
from archaeology.capture.interceptor import intercepted
from archaeology.core.seeding import torch_generator


def losses_without(specimen, images, truth, places):
    edits = {}
    for layer, head in places:
        edits.setdefault(layer, torch.zeros(len(images), 3, dtype=torch.bool))[:, head] = True
    edit = Edits(tuple(HeadEdit(layer, mask) for layer, mask in edits.items()))
    with torch.no_grad(), intercepted(specimen.model, None, edit=edit if places else None):
        return F.cross_entropy(specimen.predict(images), truth, reduction="none").double().numpy()


def test_the_order_is_that_of_loops_and_the_curve_of_the_other_half():
    specimen, images = small.timm_vit(depth=2), small.images(7)
    truth = torch.arange(7) % small.CLASSES
    found = pruning_curve(specimen, images, truth, replacement="zero", seed=5, batch_size=3, random_orders=2)
    drawn = torch.randperm(7, generator=torch_generator(5, "pruning halves", 7))
    first, second = drawn[:4].sort().values, drawn[4:].sort().values
    assert found.num_chosen_on == 4 and found.num_tried == 6 + 5 + 4 + 3 + 2
    left, gone = [(layer, head) for layer in range(2) for head in range(3)], []
    while left:
        rises = [
            losses_without(specimen, images[first], truth[first], [*gone, place]).mean() for place in left
        ]
        gone.append(left.pop(int(np.argmin(rises))))
    greedy, single = found.orders[:2]
    assert greedy.removed == tuple(gone)
    assert [order.name for order in found.orders] == ["greedy", "single effects", "random 0", "random 1"]
    assert len({order.removed for order in found.orders}) == 4
    for order in found.orders:
        assert sorted(order.removed) == sorted(gone)
        for step in range(7):
            expected = losses_without(specimen, images[second], truth[second], order.removed[:step])
            np.testing.assert_allclose(order.loss[:, step], expected, rtol=5e-4, atol=5e-4)
    alone = [
        losses_without(specimen, images[first], truth[first], [place]).mean() for place in single.removed
    ]
    assert alone == sorted(alone)


@pytest.mark.parametrize("lazy", [False, True])
def test_an_understudy_stays_when_the_other_is_gone(lazy):
    images, truth = planted.examples(80)
    found = pruning_curve(planted.specimen(), images, truth, replacement="zero", lazy=lazy)
    chosen, single = found.orders[:2]
    assert chosen.name == ("lazy greedy" if lazy else "greedy")
    understudies = {planted.A, planted.B}
    assert len(understudies & set(chosen.removed[:3])) == 1
    assert understudies | {planted.USELESS} == set(single.removed[:3])
    rows = {(row["order"], row["removed"]): row for row in found.table()}
    assert rows[chosen.name, 3]["accuracy"] == 1 and rows[chosen.name, 3]["n"] == 40
    assert rows["single effects", 3]["accuracy_high"] < rows[chosen.name, 3]["accuracy_low"]
    assert rows[chosen.name, 0]["head"] is None
    assert (rows[chosen.name, 5]["layer"], rows[chosen.name, 5]["head"]) == chosen.removed[4]
    means = found.mean_accuracies()
    assert means[chosen.name].value > means["single effects"].value
    assert means[chosen.name].value >= max(means[f"random {number}"].value for number in range(3))
    assert found.num_tried == (5 + 4 + 3 + 2 if not lazy else found.num_tried) and found.num_tried <= 14


def test_lazy_is_greedy_where_no_head_gets_cheaper_and_asks_less():
    specimen, images = small.timm_vit(depth=2), small.images(4)
    truth = specimen.predict(images).argmax(1)
    exact = pruning_curve(specimen, images, truth, random_orders=0)
    lazy = pruning_curve(specimen, images, truth, random_orders=0, lazy=True)
    assert lazy.num_tried < exact.num_tried
    assert lazy.orders[0].removed[0] == exact.orders[0].removed[0]


@pytest.mark.parametrize("replacement", ["mean", "another"])
def test_what_is_said_instead_comes_from_the_own_half(replacement):
    images, truth = planted.examples(12)
    found = pruning_curve(
        planted.specimen(), images, truth, replacement=replacement, steps=2, random_orders=1
    )
    assert [len(order.removed) for order in found.orders] == [2, 2, 2]
    assert found.orders[0].loss.shape == (6, 3)
    assert found.replacement == replacement


def test_errors_say_what_to_do():
    images, truth = planted.examples(3)
    with pytest.raises(ValueError, match=r"at least 2 \(4 to draw .* but got 3 images and 3 labels"):
        pruning_curve(planted.specimen(), images, truth, replacement="another")
    with pytest.raises(ValueError, match=r"but got 3 images and 2 labels"):
        pruning_curve(planted.specimen(), images, truth[:2])
    with pytest.raises(ValueError, match=r"steps must lie in 1..5, the number of heads, but got steps=6"):
        pruning_curve(planted.specimen(), images, truth, steps=6)
