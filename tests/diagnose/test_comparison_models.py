"""Models of runs on the same images: grids laid on one another, divergence against scipy, two that really trained."""

import io
import json
import math
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from scipy.spatial.distance import jensenshannon

from archaeology.core.intervals import Interval, McNemar, mcnemar
from archaeology.diagnose import compare
from archaeology.diagnose.comparison_answers import AnswerDifference, compare_answers
from archaeology.diagnose.comparison_attention import QUANTITIES, change_values, divergence
from archaeology.diagnose.comparison_grids import CommonGrid, shares, tokens_in_cells
from archaeology.diagnose.comparison_groups import read_groups
from archaeology.diagnose.comparison_words import of_answers
from archaeology.diagnose.places import place_of
from archaeology.models import build
from archaeology.models.resized import resized_positions
from archaeology.recipes import run_recipe
from archaeology.specimens.layout import TokenLayout
from archaeology.specimens.specimen import Specimen

spec = spec_from_file_location("compared_models_folders", Path(__file__).with_name("compared.py"))
assert spec and spec.loader
folders = module_from_spec(spec)
spec.loader.exec_module(folders)

VIT = {"patch_size": 4, "num_classes": 4, "embed_dim": 32, "depth": 2, "num_heads": 4}


def specimen(size, *, seed=0, weights=None, **arguments):
    torch.manual_seed(seed)
    built = {"image_size": size, **VIT, **arguments}
    model = build("vit", built).eval()
    if weights is not None:
        model.load_state_dict(resized_positions(weights, model))
    layout = TokenLayout(**model.token_layout())
    return Specimen("made up", model, "transformer", ("a", "b", "c", "d"), (size, size), layout=layout)


def test_divergence_is_scipys_squared_in_bits():
    generator = torch.Generator().manual_seed(0)
    first, second = (torch.rand(2, 3, 5, 7, generator=generator) ** 4 for _ in range(2))
    expected = jensenshannon(first.numpy(), second.numpy(), base=2, axis=-1) ** 2
    torch.testing.assert_close(divergence(first, second), torch.from_numpy(expected), atol=1e-6, rtol=1e-5)
    apart = divergence(torch.eye(4)[None, None], torch.eye(4).roll(1, 0)[None, None])
    assert torch.equal(apart, torch.ones(1, 1, 4)) and divergence(first, first).max() < 1e-6


@pytest.mark.parametrize(("fine", "coarse"), [(8, 4), (6, 4), (7, 3), (5, 5)])
def test_every_piece_is_shared_out_whole(fine, coarse):
    found = shares(fine, coarse)
    torch.testing.assert_close(found.sum(dim=0), torch.ones(fine, dtype=torch.float64))
    torch.testing.assert_close(found.sum(dim=1), torch.full((coarse,), fine / coarse, dtype=torch.float64))


def test_pooling_is_average_over_queries_and_sum_over_keys():
    fine, coarse = (TokenLayout(rows, rows, ("class",)) for rows in (4, 2))
    grid = CommonGrid(fine, coarse)
    generator = torch.Generator().manual_seed(0)
    pattern = torch.rand(2, 3, 17, 17, generator=generator).softmax(-1)
    pooled = grid.pooled(pattern, fine)
    assert grid.layout == coarse and pooled.shape == (2, 3, 5, 5)
    torch.testing.assert_close(pooled.sum(-1), torch.ones(2, 3, 5))
    # the cell at the upper right holds the patches (0, 2), (0, 3), (1, 2), (1, 3); the class token stands before them
    cell = [1 + 4 * row + column for row in (0, 1) for column in (2, 3)]
    expected = pattern[:, :, cell][..., cell].sum(-1).mean(-1)
    torch.testing.assert_close(pooled[:, :, 2, 2], expected)
    torch.testing.assert_close(pooled[:, :, 0, 2], pattern[:, :, 0][..., cell].sum(-1))
    assert grid.pooled(pooled, coarse) is pooled
    assert tokens_in_cells(fine, coarse).shape == (5, 17)


def test_the_coarser_side_is_taken_each_way():
    grid = CommonGrid(TokenLayout(4, 6), TokenLayout(6, 4))
    assert (grid.layout.rows, grid.layout.columns) == (4, 4)


def test_a_model_moved_nowhere_from_itself_and_somewhere_from_another():
    images = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    one, other = specimen(16), specimen(16, seed=1)
    (same, *_), modules = change_values(one, one, images)
    column = QUANTITIES.index
    assert len(modules) == 2 and same.shape == (3, 4, len(QUANTITIES))
    assert np.abs(same[..., column("divergence")]).max() < 1e-6
    assert np.abs(same[..., column("entropy_change")]).max() == 0
    assert same[..., column("between_images")].min() > 0
    (apart, *_), _ = change_values(one, other, images)
    assert apart[..., column("divergence")].min() > 0
    assert 0 < apart[..., column("entropy_before")].min() and apart[..., column("entropy_before")].max() <= 1
    assert 0 < apart[..., column("distance_after")].min() and apart[..., column("distance_after")].max() < 1
    (alone, *_), _ = change_values(one, other, images[:1])
    assert math.isnan(alone[0, 0, column("between_images")])


def test_uniform_attention_has_the_same_entropy_and_distance_on_both_grids():
    images = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    small, large = specimen(16), specimen(32)
    for one in (small, large):
        for name, parameter in one.model.named_parameters():
            if "qkv" in name or "query" in name or "key" in name:
                parameter.data.zero_()
    layers, _ = change_values(small, large, images)
    column = QUANTITIES.index
    for layer in layers:
        assert layer[..., column("divergence")].max() < 1e-6
        np.testing.assert_allclose(layer[..., column("entropy_after")], 1, atol=1e-6)
        # two points in a square are 0.5214 sides apart; a grid of points a little more or less
        np.testing.assert_allclose(layer[..., column("distance_after")], 0.5214, atol=0.02)


def test_the_same_model_on_images_of_another_size_looks_alike():
    smooth = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    images = torch.nn.functional.interpolate(smooth, (32, 32), mode="bilinear").clamp(0, 1)
    small = specimen(16)
    large, stranger = specimen(32, weights=small.model), specimen(32, seed=5)
    column = QUANTITIES.index("divergence")
    near, far = (
        np.mean([layer[..., column] for layer in change_values(small, other, images)[0]])
        for other in (large, stranger)
    )
    assert 0 < near < far


def test_what_has_no_place_in_common_is_said():
    images = torch.rand(1, 3, 16, 16)
    with pytest.raises(ValueError, match="tokens before the patches differ"):
        change_values(specimen(16), specimen(16, pooling="class_token"), images)
    with pytest.raises(ValueError, match="layers must correspond"):
        change_values(specimen(16), specimen(16, depth=3), images)
    with pytest.raises(ValueError, match="layers must correspond"):
        change_values(specimen(16), specimen(16, num_heads=2), images)
    windows = CommonGrid(TokenLayout(4, 4, order="windows"), TokenLayout(8, 8, order="windows"))
    assert "windows" in str(windows.why_not())
    assert CommonGrid(windows.first, windows.first).why_not() is None


def test_the_place_of_test_images_is_read_from_their_description():
    assert place_of("parquet:some place/x test (10,000)") == ("parquet:some place/x", "test")
    assert place_of("folder:x None (40)") == ("folder:x", None)
    assert place_of(None) == (None, None)


def test_answers_are_paired_by_seed_and_by_image(tmp_path):
    rng = np.random.default_rng(0)
    paths = [
        *folders.write_recipe(tmp_path, "a", (0.7, 0.7)),
        *folders.write_recipe(tmp_path, "b", (0.6, 0.6)),
    ]
    groups = read_groups(paths)
    right = {path: rng.random(400) < share for path, share in zip(paths, (0.8, 0.8, 0.6, 0.6), strict=True)}
    (found,) = compare_answers(groups, right)
    assert found.seeds == (0, 1) and found.tests[1] == mcnemar(right[paths[1]], right[paths[3]])
    means = [right[path].mean() for path in paths]
    assert found.interval.value == pytest.approx((means[0] + means[1] - means[2] - means[3]) / 2)
    assert (
        found.interval.low > 0
        and "name" in of_answers(found)
        and "not of others trained alike" in of_answers(found)
    )
    unsure = AnswerDifference(
        "a", "b", (0,), Interval(0.01, -0.02, 0.04, 400, "bootstrap"), (McNemar(9, 5, 400, 0.4),)
    )
    assert "cannot be told apart (1.0 points; 95 % interval over images -2.0 to 4.0 points" in of_answers(
        unsure
    )


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """The layout of Tiny ImageNet with 40 pictures of four classes, told by their colour."""
    folder = tmp_path_factory.mktemp("pictures")
    names = ["red", "green", "blue", "grey"]
    features = {"image": {"_type": "Image"}, "label": {"names": names, "_type": "ClassLabel"}}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    for split, seed in (("train", 0), ("validation", 1)):
        rng = np.random.default_rng(seed)
        images = []
        for index in range(40):
            pixels = rng.integers(0, 160, (32, 32, 3))
            pixels[..., index % 4 if index % 4 < 3 else slice(None)] += 80
            buffer = io.BytesIO()
            Image.fromarray(pixels.astype(np.uint8)).save(buffer, "PNG")
            images.append({"bytes": buffer.getvalue(), "path": None})
        table = pa.table({"image": images, "label": [index % 4 for index in range(40)]})
        pq.write_table(table.replace_schema_metadata(metadata), folder / f"{split}.parquet")
    return f"parquet:{folder}"


@pytest.fixture(scope="module")
def pair(data, tmp_path_factory):
    """Fine-tuned, and behind a frozen backbone, both from the bundled ViT."""
    folder = tmp_path_factory.mktemp("pair")
    options = {"batch_size": 20, "epochs": 2, "device": "cpu", "dtype": "float32"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ARCHAEOLOGY_CACHE", str(folder / "cache"))
        for name in ("vit_tiny_imagenet20", "vit_tiny_imagenet20_frozen"):
            run_recipe(name, folder / name, overrides=options, data=data)
        yield [folder / "vit_tiny_imagenet20", folder / "vit_tiny_imagenet20_frozen"]


def test_two_that_really_trained(pair, data, tmp_path, capsys):
    from archaeology.cli.main import main

    found = compare(pair, attention_images=8)
    tuned, frozen = found.attention
    assert float(frozen.overall.value) < 1e-6 < 1e-4 < float(tuned.overall.value)
    assert tuned.grid == "the same 8 x 8 patches" and tuned.num_images == 8 and len(tuned.layers) == 6
    assert "looks where bundled:vit_cifar10 looked" in "\n".join(found.findings)
    (same,) = found.answers
    finals = [group.finals[0] for group in found.groups]
    assert same.interval.n == 40 and same.interval.value == pytest.approx(finals[0] - finals[1])
    assert [note for note in found.notes if "recorded an accuracy" in note] == []
    assert any("all 40 images" in note and "not known" not in note for note in found.notes)

    out = tmp_path / "out"
    words = [*map(str, pair), "--data", data, "--count", "12", "--attention-images", "4", "--out", str(out)]
    assert main(["compare-training", *words]) == 0
    said = capsys.readouterr().out
    assert "12 of 40 images" in said and "How accurate do trainings end" in said
    assert {path.name for path in out.iterdir()} == {
        f"training_{name}.{kind}" for name in ("accuracy", "attention", "curves") for kind in ("png", "svg")
    }
    assert main(["compare-training", *words, "--json", "--numbers-only"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert set(document["figures"]) == {"training_accuracy", "training_curves"}
    assert main(["compare-training", str(tmp_path)]) == 2
    assert "must be the folder of a training" in capsys.readouterr().err
