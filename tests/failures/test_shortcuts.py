"""A shortcut is found only where it is in the data and in the model; tests against other people's numbers."""

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from tests.failures.made_up import fond_of_light, fond_of_marks, honest, pictures

from archaeology.failures import shortcuts
from archaeology.failures.attributes import attributes_of
from archaeology.failures.causes import answering
from archaeology.failures.interventions import changes, pasted, set_attribute, the_other_way
from archaeology.failures.planted import plant
from archaeology.failures.shortcuts import (
    _p_tells,
    area_under_curve,
    find_mark,
    find_shortcuts,
    is_shortcut,
)


def found_by(model, images, labels):
    answer = answering(model)
    unit = torch.from_numpy(images).float() / 255
    measured = attributes_of(images)
    found = find_shortcuts(answer, images, labels, measured, answer(unit), num_classes=4)
    assert len(found) == 4 * 4  # every class, three attributes and a place, answered or not
    return [one for one in found if one.p_value < 0.05 / len(found) and is_shortcut(one)], found


def test_a_bright_class_is_found_in_a_model_that_goes_by_light_and_in_no_other():
    made = plant("bright_class", *pictures(), target=1)
    sure, _ = found_by(fond_of_light, made.images, made.labels)
    assert [(one.what, one.target) for one in sure] == [("brightness", 1)]
    done = sure[0].intervention
    assert done.moved.value > 0.9 and max(share.value for share in done.controls.values()) < 0.2
    assert done.beyond.low > 0.7 and done.lost.value > 0.5
    assert np.isin(sure[0].examples, np.flatnonzero(made.labels == 1)).all()
    assert (made.labels[done.moved_rows] != 1).all() and len(done.moved_rows) > 100
    sure, asked = found_by(honest, made.images, made.labels)
    assert not sure  # the data tell, the model does not listen
    assert next(one for one in asked if (one.what, one.target) == ("brightness", 1)).p_association < 1e-6


def test_a_model_that_goes_by_light_is_not_blamed_where_light_tells_no_class():
    sure, asked = found_by(fond_of_light, *pictures())
    assert not sure and all(one.intervention is None for one in asked)


def test_a_model_that_any_large_change_of_light_moves_is_not_blamed_where_only_black_hides_it():
    images, labels = pictures(480)
    images[np.arange(480) % 3 > 0] //= 3  # dark ones cannot be made as much darker as the others brighter
    made = plant("bright_class", images, labels, target=1)

    def fond_of_the_unusual(unit):
        light = unit.mean(dim=(1, 2, 3))
        logits = honest(unit).clone()
        logits[:, 1] += 200 * ((light > 0.62) | (light < 0.05) & (unit.amax(dim=(1, 2, 3)) < 0.3))
        return logits

    images = made.images.copy()
    sure, asked = found_by(fond_of_the_unusual, images, made.labels)
    found = next(one for one in asked if (one.what, one.target) == ("brightness", 1))
    assert found.p_association < 1e-6 and found.intervention.num_as_large >= 10
    assert ("brightness", 1) not in [(one.what, one.target) for one in sure]


@pytest.mark.parametrize("name", list(changes))
def test_the_other_way_goes_as_far_as_it_can_and_says_how_far(name):
    _, measure, _ = changes.get(name)
    images = 0.3 + 0.4 * torch.rand(3, 3, 6, 7, generator=torch.Generator().manual_seed(0))
    images = torch.cat([images, torch.zeros(1, 3, 6, 7)])
    own = measure(images).double().numpy()
    wanted = own * np.array([1.1, 0.9, 2.1, 1]) + 0.01 * (np.arange(4) == 3)
    back, reached = the_other_way(name, images, own, wanted)
    np.testing.assert_allclose(back[:2], 2 * own[:2] - wanted[:2], atol=1e-6)
    np.testing.assert_allclose(reached[:2], 1, atol=1e-4)
    assert back[2] >= 0 and (reached[2] < 1 or name != "brightness")
    assert np.isnan(reached[3]) if name != "brightness" else reached[3] == 0  # black cannot be stretched
    came = measure(set_attribute(name, images, torch.from_numpy(back).float()))
    torch.testing.assert_close(came.double(), torch.from_numpy(back), rtol=1e-3, atol=1e-4)


def test_a_watermark_is_found_with_its_place_and_only_where_the_model_reads_it():
    made = plant("watermark", *pictures(), target=2)
    mark = torch.from_numpy(made.images[made.changed[0]]).float() / 255
    where = torch.zeros(12, 12, dtype=torch.bool)
    where[1:4, 1:4] = True
    sure, _ = found_by(lambda images: fond_of_marks(images, mark, where), made.images, made.labels)
    assert [(one.what, one.target) for one in sure] == [("place", 2)]
    assert sure[0].where == (1, 1, 4, 4) and sure[0].association.value == 1 and sure[0].elsewhere == 0
    assert sure[0].intervention.beyond.low > 0.8
    assert not found_by(honest, made.images, made.labels)[0]


def test_a_border_that_all_classes_share_is_no_mark():
    images, labels = pictures()
    images[:, :, :, :2] = 0
    assert all(find_mark(images, labels, target) is None for target in range(4))


def test_a_hole_through_which_the_ground_is_seen_is_no_mark_but_the_same_place_in_its_own_colour_is():
    images, labels = pictures(400)
    on_ground = np.full_like(images, 3)
    on_ground[:, :, 4:9, 4:9] = images[:, :, 4:9, 4:9]
    on_ground[labels == 1, :, 5:8, 5:8] = 3  # class 1 is a ring
    assert all(find_mark(on_ground, labels, target) is None for target in range(4))
    on_ground[labels == 1, :, 5:8, 5:8] = 90
    assert find_mark(on_ground, labels, 1).where.sum() == 9


def test_a_mark_that_seven_of_ten_images_carry_is_found():
    images, labels = pictures(400)
    made = plant("watermark", images, labels, target=3)
    without = made.changed[::4]
    made.images[without] = images[without]
    found = find_mark(made.images, made.labels, 3)
    assert found.p_value < 1e-6 and 0.5 < found.share.value < 0.9 and found.where.sum() == 9
    assert set(found.carriers.tolist()) == set(made.changed.tolist()) - set(without.tolist())


def test_a_mark_is_looked_for_in_so_many_images_of_other_classes_and_no_more(monkeypatch):
    made = plant("watermark", *pictures(400), target=3)
    compared, same = [], shortcuts._same
    monkeypatch.setattr(shortcuts, "MOST_COMPARED", 50)
    monkeypatch.setattr(
        shortcuts, "_same", lambda part, usual: compared.append(len(part)) or same(part, usual)
    )
    found = find_mark(made.images, made.labels, 3)
    own = int((made.labels == 3).sum())
    assert sum(compared) == own + own + 50  # found in one half and tested in the other, then all of its own
    assert found.where.sum() == 9 and found.p_value < 1e-6 and found.elsewhere == 0


def test_the_area_under_the_curve_is_scikit_learns_and_its_interval_covers():
    random = np.random.default_rng(0)
    held = 0
    for _ in range(200):
        inside, outside = random.normal(1, 1, 30), random.normal(0, 1, 60)
        found = area_under_curve(inside, outside)
        held += found.low <= 0.76025 <= found.high  # Phi(1 / sqrt(2))
    truth = np.r_[np.ones(30), np.zeros(60)]
    assert found.value == pytest.approx(roc_auc_score(truth, np.r_[inside, outside]))
    assert 0.9 <= held / 200 <= 0.99
    assert area_under_curve(np.arange(10) + 5.0, np.arange(10) - 9.0).low < 1  # ten images are not certain
    assert np.isnan(area_under_curve(np.full(9, 1.0), outside).value)


@pytest.mark.parametrize("few", [12, 20, 40])
def test_few_images_told_apart_by_chance_are_no_proof(few):
    random = np.random.default_rng(0)
    apart = 1.19  # standard deviations between the means: an area of 0.8, no more than is allowed
    p_values = [_p_tells(random.normal(apart, 1, few), random.normal(0, 1, 200)) for _ in range(2000)]
    assert np.mean(np.array(p_values) < 0.02) <= 0.02
    assert min(p_values) > 1e-5
    assert (_p_tells(np.arange(few) + 500.0, np.arange(200.0)) == 1) == (few < 20)


@pytest.mark.parametrize("name", list(changes))
def test_setting_an_attribute_sets_it_and_what_it_is_already_stays(name):
    _, measure, _ = changes.get(name)
    images = 0.2 + 0.5 * torch.rand(5, 3, 6, 7, generator=torch.Generator().manual_seed(0))
    now = measure(images)
    for wanted in (0.8 * now, 1.2 * now):
        changed = set_attribute(name, images, wanted)
        torch.testing.assert_close(measure(changed), wanted, rtol=1e-4, atol=1e-5)
        assert changed.min() >= 0 and changed.max() <= 1
    torch.testing.assert_close(set_attribute(name, images, now), images, rtol=0, atol=1e-4)


def test_pasting_changes_the_place_alone():
    images, pixels = torch.zeros(2, 3, 4, 5), torch.ones(1, 3, 4, 5)
    where = torch.zeros(4, 5, dtype=torch.bool)
    where[1, 2] = True
    assert pasted(images, pixels, where).sum() == 6 and pasted(images, pixels, where)[:, :, 1, 2].min() == 1


def test_bad_input():
    images, labels = pictures(40)
    with pytest.raises(ValueError, match="one label and one answer"):
        find_shortcuts(answering(honest), images, labels, {}, labels[:-1], num_classes=4)
    with pytest.raises(ValueError, match="one value for each"):
        set_attribute("contrast", torch.rand(3, 3, 4, 4), torch.rand(2))
    with pytest.raises(ValueError, match="target must be a class"):
        plant("watermark", images, labels, target=9)
    with pytest.raises(ValueError, match="did you mean 'watermark'"):
        plant("watermarc", images, labels)
