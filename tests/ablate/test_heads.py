"""Ablation by suffix against whole passes and against hooks and loops, on models of several makes."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tests.ablate import small_models as small

from archaeology.ablate import HeadAblation, ablate_heads, joined, mean_head_outputs
from archaeology.ablate.cuts import of_each_head
from archaeology.ablate.stand_ins import StandIns
from archaeology.ablate.sweep import sweep_of
from archaeology.capture.edit import HeadEdit
from archaeology.capture.interceptor import intercepted
from archaeology.specimens.layout import TokenLayout
from archaeology.specimens.specimen import Specimen

NOTHING = StandIns({}, {})
SHORT, WHOLE = "short suffix", "whole pass"
MAKES = {
    "timm, class token": (small.timm_vit, (SHORT,) * 3),
    "timm, mean": (lambda: small.timm_vit(class_token=False), (SHORT,) * 3),
    "torchvision": (small.torchvision_vit, (SHORT,) * 2),
    "swin": (small.swin, (SHORT,) * 3),
    "cait": (small.cait, (SHORT, SHORT, WHOLE, WHOLE)),  # patches and class token are joined at its end
    "looped": (lambda: small.specimen(small.Looped()), (WHOLE, WHOLE)),
    "remembering": (lambda: small.specimen(small.Remembering()), (SHORT, WHOLE)),
}


def labels(count):
    return torch.arange(count) % small.CLASSES


def assert_untouched(specimen):
    for module in specimen.model.modules():
        assert "forward" not in module.__dict__
        assert not module._forward_pre_hooks
        assert len(module._forward_hooks) == isinstance(specimen.model, small.Remembering) * (
            module is getattr(specimen.model, "first", None)
        )


@pytest.mark.parametrize("make", MAKES)
def test_every_head_equals_a_whole_pass_with_one_edit(make):
    build, methods = MAKES[make]
    specimen = build()
    images, truth = small.images(5, *specimen.image_size), labels(5)
    result = ablate_heads(specimen, images, truth, replacement="zero", batch_size=3)
    assert result.methods == methods
    prepared = specimen.prepare(images)
    for layer, heads in enumerate(result.heads):
        for head in range(heads):
            with (
                torch.no_grad(),
                intercepted(specimen.model, None, edit=HeadEdit(layer, torch.full((5,), head))),
            ):
                logits = specimen.model(prepared)
            expected = F.cross_entropy(logits, truth, reduction="none")
            np.testing.assert_allclose(result.ablated_loss[:, layer, head], expected, rtol=2e-4, atol=2e-4)
            np.testing.assert_array_equal(result.ablated_correct[:, layer, head], logits.argmax(1) == truth)
        assert np.isnan(result.ablated_loss[:, layer, heads:]).all()
        effect = np.abs(result.ablated_loss[:, layer, :heads] - result.loss[:, None])
        assert effect.max() > 1e-3  # else the comparison would say nothing
    assert_untouched(specimen)


@pytest.mark.parametrize("replacement", ["zero", "mean"])
def test_equals_hooks_and_loops(replacement):
    specimen, images, truth = small.timm_vit(), small.images(4), labels(4)
    model, prepared = specimen.model, specimen.prepare(images)
    features = {}  # what goes into each projection: the heads' answers side by side

    def keep(module, given):
        features[module] = given[0]

    handles = [block.attn.proj.register_forward_pre_hook(keep) for block in model.blocks]
    with torch.no_grad():
        whole = model(prepared)
    for handle in handles:
        handle.remove()
    result = ablate_heads(specimen, images, truth, replacement=replacement)
    for layer, block in enumerate(model.blocks):
        mean = features[block.attn.proj].mean(0)
        for head in range(3):
            chosen = slice(5 * head, 5 * head + 5)

            def silence(module, given, chosen=chosen, mean=mean):
                changed = given[0].clone()
                changed[..., chosen] = mean[:, chosen] if replacement == "mean" else 0
                return (changed,)

            handle = block.attn.proj.register_forward_pre_hook(silence)
            for image in range(4):
                with torch.no_grad():
                    logits = model(prepared[image : image + 1])
                loss = float(F.cross_entropy(logits, truth[image : image + 1]))
                assert result.ablated_loss[image, layer, head] == pytest.approx(loss, rel=2e-4, abs=2e-4)
            handle.remove()
    np.testing.assert_allclose(result.loss, F.cross_entropy(whole, truth, reduction="none"), rtol=1e-5)


def test_means_are_over_images_for_each_place_and_window():
    specimen = small.swin()
    images = small.images(5, 8, 8)
    seen = []
    with torch.no_grad(), intercepted(specimen.model, lambda attention: seen.append(attention.output)):
        specimen.predict(images)
    means = mean_head_outputs(specimen, images.split(2))
    for mean, output in zip(means, seen, strict=True):
        per_image = output.unflatten(0, (5, -1)).mean(0)
        torch.testing.assert_close(
            mean, per_image if len(per_image) > 1 else per_image[0], rtol=1e-4, atol=1e-5
        )
    assert means[0].shape == (16, 2, 4, 5)
    given = ablate_heads(specimen, images[:2], labels(2), means=means)
    own = ablate_heads(specimen, images[:2], labels(2))
    assert np.nanmax(np.abs(given.ablated_loss - own.ablated_loss)) > 1e-4


def test_each_image_alone_equals_itself_in_the_batch():
    specimen, images, truth = small.timm_vit(), small.images(5), labels(5)
    means = mean_head_outputs(specimen, images)
    together = ablate_heads(specimen, images, truth, means=means)
    for image in range(5):
        alone = ablate_heads(specimen, images[image : image + 1], truth[image : image + 1], means=means)
        np.testing.assert_allclose(alone.ablated_loss[0], together.ablated_loss[image], rtol=2e-4, atol=2e-4)
    chunks = [
        ablate_heads(specimen, images[part], truth[part], means=means) for part in (slice(0, 2), slice(2, 5))
    ]
    np.testing.assert_allclose(joined(chunks).ablated_loss, together.ablated_loss, rtol=2e-4, atol=2e-4)


def test_shortcut_that_would_be_wrong_is_noticed():
    # The layout claims that the class token is read, but the model reads the mean of its patches.
    specimen = small.timm_vit(class_token=False, layout=TokenLayout(1, 5, ("class",)))
    images, truth = small.images(3), labels(3)
    result = ablate_heads(specimen, images, truth, replacement="zero")
    assert set(result.methods) == {"suffix"}
    honest = ablate_heads(small.timm_vit(class_token=False), images, truth, replacement="zero")
    np.testing.assert_allclose(result.ablated_loss, honest.ablated_loss, rtol=2e-4, atol=2e-4)


def test_copies_in_one_pass_stay_within_the_limit():
    specimen = small.timm_vit()
    sizes = []
    specimen.model.head.register_forward_pre_hook(lambda module, given: sizes.append(len(given[0])))
    sweep = sweep_of(specimen, small.images(2), max_batch=4)
    sweep.logits(specimen.prepare(small.images(2)), of_each_head(sweep.heads), NOTHING)
    assert max(sizes) == 4


def test_table_measures_loss_of_accuracy_and_rise_of_loss():
    correct = np.array([1.0, 1, 1, 0])
    ablated = np.full((4, 2, 2), np.nan)
    ablated[:, 0, 0], ablated[:, 0, 1], ablated[:, 1, 0] = [0, 0, 1, 0], [1, 1, 1, 1], correct
    loss = np.array([0.1, 0.2, 0.3, 2.0])
    result = HeadAblation(
        ("a", "b"),
        (2, 1),
        correct,
        loss,
        ablated,
        np.where(np.isnan(ablated), np.nan, 1.0),
        "mean",
        ("suffix",) * 2,
    )
    table = result.table(seed=3)
    assert [(row["layer"], row["head"], row["module"]) for row in table] == [
        (0, 0, "a"),
        (0, 1, "a"),
        (1, 0, "b"),
    ]
    assert [row["ablation_accuracy"] for row in table] == [0.5, -0.25, 0]
    for row in table:
        assert row["ablation_loss"] == pytest.approx(1 - loss.mean())
        assert row["ablation_accuracy_low"] <= row["ablation_accuracy"] <= row["ablation_accuracy_high"]
        assert row["ablation_loss_low"] < row["ablation_loss"] < row["ablation_loss_high"]
        assert row["n"] == 4


def test_result_comes_back_from_a_file(tmp_path):
    result = ablate_heads(small.timm_vit(depth=1), small.images(2), labels(2))
    np.savez(tmp_path / "ablation.npz", **result.arrays())
    with np.load(tmp_path / "ablation.npz") as file:
        back = HeadAblation.from_arrays(file)
    assert back.table() == result.table()
    assert (back.methods, back.replacement, back.modules) == (result.methods, "mean", result.modules)


def test_model_is_left_alone_when_something_fails():
    specimen = small.timm_vit()
    sweep = sweep_of(specimen, small.images(2), max_batch=6)
    cuts = of_each_head(sweep.heads)
    sweep.logits(specimen.prepare(small.images(2)), cuts, NOTHING)
    head, calls = specimen.model.head, []

    def fail(module, given):
        calls.append(1)
        if len(calls) > 1:
            raise KeyboardInterrupt

    handle = head.register_forward_pre_hook(fail)
    with pytest.raises(KeyboardInterrupt):
        sweep.logits(specimen.prepare(small.images(2)), cuts, NOTHING)
    handle.remove()
    assert_untouched(specimen)


def test_errors_say_what_to_do():
    specimen = small.timm_vit(depth=1)
    with pytest.raises(ValueError, match=r"No replacement is called 'men'; did you mean 'mean'"):
        ablate_heads(specimen, small.images(2), labels(2), replacement="men")
    with pytest.raises(ValueError, match=r"a label for each, but got 2 images and 3 labels"):
        ablate_heads(specimen, small.images(2), labels(3))
    with pytest.raises(ValueError, match=r"labels must lie in 0..6.*model's own predictions"):
        ablate_heads(specimen, small.images(2), torch.tensor([-1, 2]))
    with pytest.raises(ValueError, match=r"at least one image, but got none"):
        mean_head_outputs(specimen, [])
    with pytest.raises(ValueError, match=r"joined needs at least one"):
        joined([])
    one = ablate_heads(specimen, small.images(2), labels(2))
    other = ablate_heads(specimen, small.images(2), labels(2), replacement="zero")
    with pytest.raises(ValueError, match=r"same model with the same replacement.*2 different"):
        joined([one, other])
    blind = Specimen(
        "blind", torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(162, 7)), "other", (), (6, 9)
    )
    with pytest.raises(RuntimeError, match="No softmax attention was seen in blind"):
        ablate_heads(blind, small.images(2), labels(2), replacement="zero")
