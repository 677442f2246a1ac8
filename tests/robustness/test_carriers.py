"""Heads put right one by one against hooks, what is told of them, and the attack run again without them."""

import json
import sys
from typing import Any

import numpy as np
import pytest
import torch
from tests.ablate import planted
from tests.robustness import models
from tests.robustness.test_matched_noise import moved

from archaeology.ablate import mean_head_outputs, without_heads
from archaeology.attacks import attack_images
from archaeology.core.errors import UnknownNameError
from archaeology.core.intervals import wilson
from archaeology.core.many import corrected
from archaeology.robustness.carriers import Carriers, find_carriers
from archaeology.robustness.fooled import fooled_by
from archaeology.robustness.reattack import Outcome, Reattack, drawn_others, reattack


@pytest.fixture(scope="module")
def attacked():
    """A small transformer under attack: the model, and what came of it."""
    specimen = models.transformer()
    images = models.images(12)
    labels = models.own_answers(specimen, images)
    labels[1] = (labels[1] + 1) % models.CLASSES
    return specimen, attack_images("pgd", specimen, images, labels, epsilon=0.03, steps=4)


def margin(logits, label):
    own = logits[label]
    return own - max(value for number, value in enumerate(logits) if number != label)


def with_head_said(specimen, image, layer, head, said):
    """Logits of one image while a head says `said` (token, dim), by a hook before timm's projection."""

    def replace(module, given):
        changed = given[0].clone()
        changed[..., 5 * head : 5 * head + 5] = said
        return (changed,)

    handle = specimen.model.blocks[layer].attn.proj.register_forward_pre_hook(replace)
    with torch.no_grad():
        logits = specimen.predict(image[None])[0].tolist()
    handle.remove()
    return logits


def said_by(specimen, image, layer):
    """What all heads of a layer say of an image, side by side (token, head and dim)."""
    kept = []
    handle = specimen.model.blocks[layer].attn.proj.register_forward_pre_hook(
        lambda module, given: kept.append(given[0][0])
    )
    with torch.no_grad():
        specimen.predict(image[None])
    handle.remove()
    return kept[0]


@pytest.mark.parametrize("replacement", ["clean", "mean"])
def test_margins_equal_hooks(attacked, replacement):
    specimen, result = attacked
    turned = fooled_by(result)
    assert len(turned) >= 3
    found = find_carriers(
        specimen, turned.clean, turned.attacked, turned.labels, replacement=replacement, batch_size=2
    )
    for layer in range(2):
        of_clean = torch.stack([said_by(specimen, image, layer) for image in turned.clean])
        for head in range(3):
            for number, image in enumerate(turned.attacked):
                said = of_clean[number] if replacement == "clean" else of_clean.mean(0)
                said = said[:, 5 * head : 5 * head + 5]
                logits = with_head_said(specimen, image, layer, head, said)
                wanted = margin(logits, int(turned.labels[number]))
                assert found.restored[number, layer, head] == pytest.approx(wanted, rel=1e-5, abs=1e-5)
                assert found.rescued[number, layer, head] == (
                    int(np.argmax(logits)) == int(turned.labels[number])
                )
    for images, margins in ((turned.clean, found.clean), (turned.attacked, found.attacked)):
        with torch.no_grad():
            rows = specimen.predict(images).tolist()
        wanted = [margin(row, int(label)) for row, label in zip(rows, turned.labels, strict=True)]
        np.testing.assert_allclose(margins, wanted, rtol=1e-6)


def test_the_heads_that_carry_a_change_of_green_are_those_that_read_it():
    """In a model that was built: of g green, 1 g is said by one head and 0.02 g by its helper.

    The margin is 8 * 1.02 g - 4, but at most 4, where red is no surer.
    """
    labels = torch.full((4,), 3)
    clean = planted.coloured(labels).float() / 255
    attacked = clean.clone()
    attacked[:, 1] = torch.linspace(0, 0.3, 4)[:, None, None]  # green nearly gone, in every pixel
    found = find_carriers(planted.specimen(), clean, attacked, labels)
    rows: list[Any] = found.table()
    places = [(row["layer"], row["head"]) for row in rows]
    recovered = {place: row["recovered"] for place, row in zip(places, rows, strict=True)}
    assert recovered.pop(planted.DECISIVE) == pytest.approx(1, abs=1e-4)
    assert recovered.pop(planted.HELPER) == pytest.approx(0.16 * 0.85 / (8 - 8.16 * 0.15), abs=1e-4)
    assert list(recovered.values()) == pytest.approx([0, 0, 0], abs=1e-5)
    assert found.strongest(1) == (planted.DECISIVE,)
    assert [row["rescued"] for row in rows] == [0, 0, 0, 0, 1]


def test_pairs_that_turn_back_when_asked_again_are_left_out_and_counted(attacked):
    specimen, result = attacked
    turned = fooled_by(result)
    still = moved(turned.clean[:1], 1e-9)  # an attack that changed nothing of the answer
    found = find_carriers(
        specimen,
        torch.cat([turned.clean[:1], turned.clean]),
        torch.cat([still, turned.attacked]),
        torch.cat([turned.labels[:1], turned.labels]),
    )
    alone = find_carriers(specimen, turned.clean, turned.attacked, turned.labels)
    assert (found.left_out, alone.left_out) == (1, 0)
    assert found.describe()["left_out"] == 1 and found.describe()["n"] == len(turned)
    np.testing.assert_allclose(found.restored, alone.restored, rtol=1e-6)


def made_up():
    """Two layers of two and one heads; four images, all at -1 that were at +1."""
    restored = np.full((4, 2, 2), np.nan)
    restored[:, 0, 0] = [0.5, 0.5, -0.5, -0.5]
    restored[:, 0, 1] = [-1, -1, -1, -1]
    restored[:, 1, 0] = [1, 1, 1, -1]
    return Carriers(("a", "b"), (2, 1), np.ones(4), -np.ones(4), restored, "clean")


def test_the_table_tells_what_comes_back():
    found = made_up()
    assert found.strongest(3) == ((1, 0), (0, 0), (0, 1)) and found.strongest(1) == ((1, 0),)
    rows: list[Any] = found.table()
    assert [(row["layer"], row["head"], row["module"]) for row in rows] == [
        (0, 0, "a"),
        (0, 1, "a"),
        (1, 0, "b"),
    ]
    assert [row["recovered"] for row in rows] == pytest.approx([0.5, 0, 0.75])
    assert [row["rescued"] for row in rows] == [0.5, 0, 0.75]
    assert rows[2]["rescued_low"] == wilson(3, 4).low
    assert [row["gain"] for row in rows] == pytest.approx([1, 0, 1.5])
    assert rows[1]["p"] == 1 and rows[0]["p_corrected"] >= rows[0]["p"]
    told = json.loads(json.dumps(found.describe(), allow_nan=False))
    assert told["replacement"] == "clean" and told["n"] == 4 and len(told["heads"]) == 3
    with pytest.raises(ValueError, match=r"count must lie in 1..3, the heads of the model, but got count=4"):
        found.strongest(4)


def test_equal_rescuers_are_told_apart_by_the_margin():
    restored = np.array([[[0.1, 0.9, 0.5]]])
    found = Carriers(("a",), (3,), np.ones(1), -np.ones(1), restored, "clean")
    assert found.strongest(3) == ((0, 1), (0, 2), (0, 0))


def test_bad_input_is_refused(attacked):
    specimen, result = attacked
    turned = fooled_by(result)
    given = (turned.clean, turned.attacked, turned.labels)
    with pytest.raises(ValueError, match="only a model with attention can be asked this"):
        find_carriers(models.network(), *given)
    with pytest.raises(UnknownNameError, match="did you mean 'clean'"):
        find_carriers(specimen, *given, replacement="cean")
    with pytest.raises(
        ValueError, match="knows before the attack and not after, but of 1 pairs there is none"
    ):
        find_carriers(specimen, turned.clean[:1], moved(turned.clean[:1], 1e-9), turned.labels[:1])
    with pytest.raises(ValueError, match="every image must have been changed"):
        find_carriers(specimen, turned.clean, turned.clean, turned.labels)
    with pytest.raises(ValueError, match=r"labels must lie in 0..6"):
        find_carriers(specimen, turned.clean, turned.attacked, turned.labels + 7)
    with pytest.raises(ValueError, match="only a model with attention can be asked this"):
        reattack(models.network(), result, [(0, 0)])
    with pytest.raises(ValueError, match=r"4 of 6 are to be taken out and draws=5; take out at most half"):
        reattack(specimen, result, [(0, 0), (0, 1), (0, 2), (1, 0)])
    with pytest.raises(ValueError, match=r"draws=0"):
        reattack(specimen, result, [(0, 0)], draws=0)
    with pytest.raises(ValueError, match=r"at least one, but got \(2, 0\)"):
        reattack(specimen, result, [(2, 0)])


def test_others_are_never_the_carriers_and_all_come_up():
    others = drawn_others([(0, 1), (1, 0)], [3, 3], 40, 0)
    assert len(others) == 40 and all(len(set(draw)) == 2 for draw in others)
    assert {head for draw in others for head in draw} == {(0, 0), (0, 2), (1, 1), (1, 2)}
    assert drawn_others([(0, 1)], [3, 3], 3, 0) == drawn_others([(0, 1)], [3, 3], 3, 0)
    assert drawn_others([(0, 1)], [3, 3], 9, 0) != drawn_others([(0, 1)], [3, 3], 9, 1)


def test_the_attack_is_the_same_and_runs_against_what_is_left(attacked):
    specimen, result = attacked
    found = reattack(specimen, result, [(1, 2)], draws=2, seed=3)
    means = mean_head_outputs(specimen, result.original)
    for heads, outcome in zip([[(1, 2)], *found.others], [found.without, *found.without_others], strict=True):
        left = without_heads(specimen, heads, means)
        again = attack_images("pgd", left, result.original, result.labels, epsilon=0.03, steps=4, seed=3)
        assert outcome.robust.tolist() == (~again.success).tolist()
        assert outcome.clean.tolist() == again.clean_correct.tolist()
        assert (
            outcome.old_images.tolist() == (models.own_answers(left, result.images) == result.labels).tolist()
        )
    assert found.whole.robust.tolist() == (~result.success).tolist()
    assert found.attack == "pgd" and len(found.others) == 2


def outcome(clean, robust):
    made = [np.array(values, dtype=bool) for values in (clean, robust, robust)]
    return Outcome(*made)


def test_shares_and_their_differences_are_paired_over_images():
    n = 20
    everyone, half = [1] * n, [1] * 10 + [0] * 10
    fifth, none = [1] * 4 + [0] * 16, [0] * n
    found = Reattack(
        ((0, 0),),
        (((0, 1),), ((0, 2),)),
        outcome(everyone, none),
        outcome(half, half),
        (outcome(everyone, none), outcome(half, fifth)),
        "pgd",
        0,
    )
    rows: dict[Any, Any] = {row["what"]: row for row in found.table()}
    assert list(rows) == ["clean", "old_images", "robust", "survival"]
    assert rows["robust"]["whole"] == 0 and rows["robust"]["without"] == 0.5
    assert rows["robust"]["others"] == pytest.approx(0.1)
    assert rows["robust"]["without_minus_others"] == pytest.approx(0.4)
    assert 0.05 < rows["robust"]["without_minus_others_low"] < 0.4
    assert rows["robust"]["others_as_high"] == 0 and rows["robust"]["draws"] == 2
    assert (rows["robust"]["others_lowest"], rows["robust"]["others_highest"]) == (0, 0.2)
    assert rows["survival"]["without"] == 1 and rows["survival"]["others"] == pytest.approx((0 + 0.4) / 2)
    assert rows["survival"]["without_low"] == 1
    assert rows["clean"]["without_minus_whole"] == -0.5 and rows["clean"]["others_as_high"] == 2
    assert rows["robust"]["p_whole"] == pytest.approx(2 / 2**10)  # ten images, all to one side
    p_values = [
        rows[what][key] for what in ("clean", "old_images", "robust") for key in ("p_whole", "p_others")
    ]
    strict = [
        rows[what][f"{key}_corrected"]
        for what in ("clean", "old_images", "robust")
        for key in ("p_whole", "p_others")
    ]
    assert strict == pytest.approx(corrected(np.array(p_values)).tolist())
    assert min(strict) == pytest.approx(6 * min(p_values))
    json.dumps(found.describe(), allow_nan=False)


def test_what_withstands_nothing_has_an_interval_all_the_same():
    """Of twenty images none withstands, with or without the heads: twenty images do not show that none does."""
    none = outcome([1] * 20, [0] * 20)
    found = Reattack(((0, 0),), (((0, 1),),), none, none, (none,), "pgd", 0)
    row: dict[Any, Any] = next(row for row in found.table() if row["what"] == "robust")
    assert (row["whole"], row["whole_low"]) == (0, 0)
    assert row["whole_high"] == pytest.approx(1 - 0.025 ** (1 / 20), abs=0.02)
    assert row["without_minus_whole_low"] < 0 < row["without_minus_whole_high"]
    assert row["p_whole"] == row["p_others"] == 1


def test_survival_of_a_model_that_knows_nothing_is_not_defined():
    everyone, none = outcome([1] * 8, [1] * 8), outcome([0] * 8, [0] * 8)
    found = Reattack(((0, 0),), (((0, 1),), ((0, 2),)), everyone, everyone, (none, none), "pgd", 0)
    row: dict[Any, Any] = found.table()[-1]
    assert row["others"] is None and row["others_lowest"] is None and row["whole"] == 1
    json.dumps(found.describe(), allow_nan=False)


def test_the_model_is_left_as_it_was(attacked):
    specimen, result = attacked
    before = {name: tensor.clone() for name, tensor in specimen.model.state_dict().items()}
    state = torch.get_rng_state()
    turned = fooled_by(result)
    find_carriers(specimen, turned.clean, turned.attacked, turned.labels)
    reattack(specimen, result, [(0, 0)], draws=1)
    assert torch.equal(state, torch.get_rng_state())
    assert all(
        parameter.requires_grad and parameter.grad is None for parameter in specimen.model.parameters()
    )
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in specimen.model.modules())
    assert all(torch.equal(tensor, before[name]) for name, tensor in specimen.model.state_dict().items())


def test_the_attack_is_asked_for_with_its_own_parameters(attacked, monkeypatch):
    specimen, result = attacked
    asked = []

    def spy(name, *given, **parameters):
        asked.append((name, parameters))
        return attack_images(name, *given, **parameters)

    monkeypatch.setattr(sys.modules["archaeology.robustness.reattack"], "attack_images", spy)
    reattack(specimen, result, [(1, 2)], draws=1, seed=3)
    assert len(asked) == 2
    for name, parameters in asked:
        assert (name, parameters["seed"], parameters["norm"], parameters["steps"]) == ("pgd", 3, "linf", 4)
        assert torch.equal(parameters["epsilon"], result.epsilon)
