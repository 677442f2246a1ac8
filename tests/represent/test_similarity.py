"""The streamed matrix is the mean of the batches, its interval holds the full number, constant layers are named."""

import numpy as np
import pytest
import torch
from tests.ablate import small_models as small
from tests.represent.made_up import features
from tests.represent.test_features import convnet, registered_vit

from archaeology.core.seeding import numpy_generator
from archaeology.represent import Tap, cka, extract_features, layer_similarity, readout_similarity
from archaeology.represent.hsic import hsic, linear_gram
from archaeology.represent.similarity import BatchSums, jackknifed


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_one_batch_is_cka_of_whole_feature_sets(kernel):
    vit, cnn, images = registered_vit(), convnet(), small.images(11, 16, 16)
    found = layer_similarity(vit, cnn, images, kernel=kernel, width=0.7)
    assert found.num_batches == 1 and np.isnan(found.cka.low).all()
    for row, one in enumerate(extract_features(vit, images)):
        for column, other in enumerate(extract_features(cnn, images)):
            expected = cka(one, other, kernel=kernel, width=0.7)
            assert found.cka.value[row, column] == pytest.approx(expected, abs=1e-6)


def test_streamed_equals_the_reference_batch_by_batch():
    vit, cnn = registered_vit(), convnet()
    images = small.images(19, 16, 16)
    found = layer_similarity(vit, cnn, images, batch_size=7, seed=3)
    assert found.num_batches == 3
    order = numpy_generator(3, "cka batches", 19).permutation(19)
    sides = [extract_features(model, images) for model in (vit, cnn)]
    for row, one in enumerate(sides[0]):
        for column, other in enumerate(sides[1]):
            sums = np.zeros(3)
            for rows in np.array_split(order, 3):
                grams = [linear_gram(part.values[rows]) for part in (one, other)]
                sums += [hsic(grams[a], grams[b]) for a, b in ((0, 1), (0, 0), (1, 1))]
            expected = sums[0] / np.sqrt(sums[1] * sums[2])
            assert found.cka.value[row, column] == pytest.approx(expected, abs=1e-6)


def test_the_full_number_lies_in_the_interval_of_the_streamed_one():
    generator = np.random.default_rng(0)
    inside = 0
    for _ in range(60):
        shared = generator.normal(size=(120, 4))
        one = np.hstack([shared, generator.normal(size=(120, 9))])
        other = np.hstack([2 * shared, generator.normal(size=(120, 5))])
        parts = []
        for rows in np.array_split(generator.permutation(120), 8):
            grams = [linear_gram(part[rows]) for part in (one, other)]
            parts.append([hsic(grams[a], grams[b]) for a, b in ((0, 1), (0, 0), (1, 1))])
        pairs, first, second = np.array(parts).T
        made = jackknifed(BatchSums(pairs[:, None, None], first[:, None], second[:, None]), 120)
        full = cka(features(one), features(other))
        inside += float(made.low[0, 0]) <= full <= float(made.high[0, 0])
    assert inside >= 54


def test_a_model_with_itself_has_ones_on_the_diagonal_and_is_symmetric():
    vit = registered_vit()
    found = layer_similarity(vit, vit, small.images(13), batch_size=5)
    np.testing.assert_allclose(np.diag(found.cka.value), 1, atol=1e-12)
    np.testing.assert_allclose(found.cka.value, found.cka.value.T, atol=1e-12)


def test_readouts_of_the_same_layers_are_compared():
    found = readout_similarity(
        registered_vit(), small.images(13), ("mean_patches", "class_token", "registers"), batch_size=5
    )
    assert [tap.readout for tap in found.first_taps] == [
        name for name in ("mean_patches", "class_token", "registers") for _ in range(2)
    ]
    assert found.cka.value.shape == (6, 6) and np.isfinite(found.cka.value).all()


def test_a_constant_layer_is_nan_and_named():
    vit, cnn = registered_vit(), convnet()
    with torch.no_grad():
        cnn.model.groups[1].norm2.weight.zero_()
    found = layer_similarity(vit, cnn, small.images(9, 16, 16), batch_size=5)
    assert found.constant == ("cnn groups.1 (mean_patches)",)
    assert np.isnan(found.cka.value[:, 2]).all() and np.isfinite(found.cka.value[:, :2]).all()


def test_batches_do_not_follow_the_order_of_images():
    vit, images = registered_vit(), small.images(24)
    taps = [Tap("blocks.1")]
    values = [
        layer_similarity(vit, convnet(), images, first_taps=taps, batch_size=8, seed=seed).num_batches
        for seed in (0, 1)
    ]
    assert values == [3, 3]
    one, two = (layer_similarity(vit, vit, images, batch_size=8, seed=seed).cka.value for seed in (0, 1))
    assert not np.allclose(one, two)


def test_bad_input_is_refused():
    vit, images = registered_vit(), small.images(5)
    with pytest.raises(ValueError, match="at least 4 images in a batch"):
        layer_similarity(vit, vit, images, batch_size=3)
    with pytest.raises(ValueError, match="and 3 images"):
        layer_similarity(vit, vit, images[:3])
    with pytest.raises(ValueError, match="No kernel is called"):
        layer_similarity(vit, vit, images, kernel="cosine")
    with pytest.raises(ValueError, match="No readout is called"):
        layer_similarity(vit, vit, images, first_taps=[Tap("blocks.0", "mean")])
    with pytest.raises(ValueError, match="No module of small is called"):
        layer_similarity(vit, vit, images, first_taps=[Tap("block.0")])
