"""Rollout and relevance over windows and stages, against the product of whole matrices in plain loops."""

from dataclasses import replace

import pytest
import timm
import torch
import torchvision
from tests.ablate import small_models as small

from archaeology.capture.places import Places
from archaeology.capture.record import CapturedPattern, Record, capture
from archaeology.explain import explain, explain_all
from archaeology.explain.stages import Stages, followed, unmerged
from archaeology.models.swin import Swin
from archaeology.specimens.layout import TokenLayout
from archaeology.specimens.specimen import Specimen

SWIN = TokenLayout(2, 2, (), "mean", order="windows")


def layer(rows, columns, index, batch=2, head=3, seed=0, kind="window"):
    index = torch.tensor(index)
    windows, tokens = index.shape
    generator = torch.Generator().manual_seed(seed)
    pattern = torch.rand(batch * windows, head, tokens, tokens, generator=generator, dtype=torch.float64)
    gradient = torch.randn(pattern.shape, generator=generator, dtype=torch.float64)
    return CapturedPattern(f"layer{seed}", kind, pattern, gradient, Places(rows, columns, index))


def two_stages():
    """A 3 x 4 map in windows, one of them padded; then its 2 x 2 map, whole."""
    return [
        layer(3, 4, [[0, 1, 4, 5, 8], [2, 3, 6, 7, 9], [10, -1, 11, -1, -1]], seed=1),
        layer(3, 4, [[11, 0, 7], [1, 2, 3], [4, 5, 6], [8, 9, 10]], seed=2),
        layer(2, 2, [[0, 1, 2, 3]], seed=3, kind="token"),
    ]


def record_of(attentions, layout=SWIN, batch=2):
    return Record(
        images=torch.zeros(batch, 3, 6, 8),
        logits=torch.zeros(batch, 2),
        target=torch.zeros(batch, dtype=torch.int64),
        layout=layout,
        attentions=tuple(attentions),
        activations={},
        gradients={},
    )


def whole_matrix(attention, image, fuse):
    """A layer's matrix on its whole map, in loops; weight on padding is left out."""
    places = attention.places
    windows, tokens = places.index.shape
    size = places.rows * places.columns
    matrix = [[0.0] * size for _ in range(size)]
    for window in range(windows):
        fused = fuse(attention, image * windows + window)
        for query in range(tokens):
            for key in range(tokens):
                at, to = int(places.index[window, query]), int(places.index[window, key])
                if at >= 0 and to >= 0:
                    matrix[at][to] = float(fused[query, key])
    return torch.tensor(matrix, dtype=torch.float64)


def merging(fine, coarse):
    """Which share each coarse place gives to each fine one, in loops, for halving rounded up."""
    matrix = torch.zeros(coarse[0] * coarse[1], fine[0] * fine[1], dtype=torch.float64)
    for row in range(fine[0]):
        for column in range(fine[1]):
            matrix[row // 2 * coarse[1] + column // 2, row * fine[1] + column] = 1
    return matrix / matrix.sum(1, keepdim=True)


def whole_products(record, fuse, residual_and_norm):
    """Readout row of the product of all layers and mergings, image by image; and that of mergings alone."""
    found = []
    for image in range(len(record.logits)):
        last = record.attentions[-1].places
        row = torch.full((last.num_places,), 1 / last.num_places, dtype=torch.float64)
        untouched, grid = row.clone(), (last.rows, last.columns)
        for attention in reversed(record.attentions):
            here = (attention.places.rows, attention.places.columns)
            if here != grid:
                row, untouched, grid = row @ merging(here, grid), untouched @ merging(here, grid), here
            matrix = whole_matrix(attention, image, fuse) + torch.eye(len(row), dtype=torch.float64)
            row = row @ (matrix / matrix.sum(1, keepdim=True) if residual_and_norm else matrix)
        found.append((row, untouched))
    return torch.stack([row for row, _ in found]), torch.stack([row for _, row in found])


def mean_heads(attention, example):
    return attention.pattern[example].double().mean(0)


def evidence(attention, example):
    return (attention.pattern[example] * attention.pattern_gradient[example]).double().clamp(min=0).mean(0)


def test_methods_equal_products_of_whole_matrices():
    record = record_of(two_stages())
    rolled, _ = whole_products(record, mean_heads, True)
    torch.testing.assert_close(explain("rollout", record).heatmap.flatten(1), rolled, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(rolled.sum(1), torch.ones(2, dtype=torch.float64))
    graded, _ = whole_products(record, evidence, True)
    torch.testing.assert_close(
        explain("gradient_rollout", record).heatmap.flatten(1), graded, rtol=1e-9, atol=1e-12
    )
    summed, untouched = whole_products(record, evidence, False)
    found = explain("relevance", record).heatmap.flatten(1)
    torch.testing.assert_close(found, summed - untouched, rtol=1e-9, atol=1e-12)
    assert explain("rollout", record).heatmap.shape == (2, 3, 4)
    assert "window by window" in explain("rollout", record).formula


def test_a_pool_at_the_end_is_the_start():
    pool = CapturedPattern("pool", "pool", torch.rand(2, 3, 1, 4, dtype=torch.float64).softmax(-1))
    record = record_of([*two_stages(), pool])
    stages = followed(record, "m")
    assert isinstance(stages, Stages) and len(stages) == 4 and stages.readout == "attention pool's"
    start = stages.start(lambda seen: seen.pattern.mean(dim=1))
    torch.testing.assert_close(start, pool.pattern.mean(1)[:, 0])
    assert float(explain("rollout", record).heatmap.sum()) == pytest.approx(2)


def merged_in_loops(row, coarse, fine):
    sides = [-(-many // few) for many, few in zip(fine, coarse, strict=True)]
    members = [[] for _ in range(coarse[0] * coarse[1])]
    for place in range(fine[0] * fine[1]):
        at = place // fine[1] // sides[0] * coarse[1] + place % fine[1] // sides[1]
        members[at].append(place)
    found = torch.zeros(len(row), fine[0] * fine[1], dtype=row.dtype)
    for at, places in enumerate(members):
        for place in places:
            found[:, place] = row[:, at] / len(places)
    return found


@pytest.mark.parametrize(
    ("coarse", "fine"), [((2, 3), (4, 6)), ((2, 3), (3, 5)), ((1, 2), (3, 7)), ((2, 1), (2, 1))]
)
def test_shares_of_merged_tokens_go_to_their_parts(coarse, fine):
    row = torch.rand(2, coarse[0] * coarse[1], dtype=torch.float64)
    found = unmerged(row, coarse, fine)
    torch.testing.assert_close(found, merged_in_loops(row, coarse, fine))
    torch.testing.assert_close(found.sum(1), row.sum(1))


@pytest.mark.parametrize(("coarse", "fine"), [((4, 4), (5, 5)), ((4, 4), (2, 2))])
def test_maps_that_were_not_merged_are_an_error(coarse, fine):
    with pytest.raises(ValueError, match=r"merge blocks of tokens into one, but a map of"):
        unmerged(torch.rand(1, 16), coarse, fine)


def test_unknown_places_are_an_error():
    lost = [*two_stages()[:2], replace(two_stages()[2], places=None)]
    with pytest.raises(
        ValueError, match=r"rollout needs to know .* for 1 of 3 layers .*layer3: token.*use grad_cam"
    ):
        explain("rollout", record_of(lost))
    with pytest.raises(ValueError, match="needs a model with a token layout"):
        explain("rollout", record_of(two_stages(), layout=None))


def fresh(model, size):
    layout = TokenLayout(2, 2, (), "mean", order="windows")
    return Specimen("fresh", model.eval(), "transformer", (), (size, size), layout=layout)


def timm_swin_v2():
    return timm.models.SwinTransformerV2(
        img_size=24, patch_size=2, window_size=4, embed_dim=10, depths=(2, 1), num_heads=(2, 5), num_classes=7
    )


def torchvision_swin(version):
    library = torchvision.models.swin_transformer
    parts = {"block": library.SwinTransformerBlockV2, "downsample_layer": library.PatchMergingV2}
    return torchvision.models.SwinTransformer(
        [2, 2], 10, [2, 2], [2, 5], [3, 3], num_classes=7, **(parts if version == 2 else {})
    )


def hugging_face(version):
    transformers = pytest.importorskip("transformers")
    name = "Swin" if version == 1 else "Swinv2"
    config = getattr(transformers, f"{name}Config")(
        image_size=24,
        patch_size=2,
        embed_dim=10,
        depths=[2, 1],
        num_heads=[2, 5],
        window_size=4,
        num_labels=7,
    )
    model = getattr(transformers, f"{name}ForImageClassification")(config)

    class Logits(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, images):
            return self.model(images).logits

    return Logits()


MODELS = {
    "timm v2": lambda: fresh(timm_swin_v2(), 24),
    "torchvision v1": lambda: fresh(torchvision_swin(1), 16),
    "torchvision v2": lambda: fresh(torchvision_swin(2), 16),
    "transformers v1": lambda: fresh(hugging_face(1), 24),
    "transformers v2": lambda: fresh(hugging_face(2), 24),
    "timm, sharp": small.swin,
    "ours": lambda: fresh(Swin(16, 2, embed_dim=10, depths=(2, 1), num_heads=(2, 5), window=3), 16),
}


@pytest.mark.parametrize("name", MODELS)
def test_real_models_equal_products_of_whole_matrices(name):
    torch.manual_seed(0)
    specimen = MODELS[name]()
    torch.nn.init.normal_(
        list(specimen.model.parameters())[-2], std=0.3
    )  # a head that starts at zero has no gradient
    size = specimen.image_size[0]
    record = capture(specimen, torch.rand(2, 3, size, size), gradients=True)
    rolled, _ = whole_products(record, mean_heads, True)
    heatmap = explain("rollout", record).heatmap
    first = record.attentions[0].places
    assert first is not None and heatmap.shape == (2, first.rows, first.columns)
    torch.testing.assert_close(heatmap.flatten(1).double(), rolled, rtol=1e-4, atol=1e-7)
    summed, untouched = whole_products(record, evidence, False)
    found = explain("relevance", record).heatmap.flatten(1).double()
    torch.testing.assert_close(found, summed - untouched, rtol=1e-3, atol=float(found.max()) * 1e-4)


def test_ours_gives_what_the_same_windows_give():
    """Whole matrices of a model of ours, and the same cut into windows, are rolled to the same map."""
    torch.manual_seed(0)
    specimen = fresh(Swin(16, 2, embed_dim=10, depths=(1,), num_heads=(2,), window=4), 16)
    record = capture(specimen, torch.rand(2, 3, 16, 16))
    (seen,) = record.attentions
    index = torch.arange(64).view(2, 4, 2, 4).transpose(1, 2).reshape(4, 16)
    cut = torch.stack([seen.pattern[:, :, places][..., places] for places in index], dim=1).flatten(0, 1)
    torch.testing.assert_close(cut.sum(-1), torch.ones(cut.shape[:-1]))
    as_windows = replace(seen, kind="window", pattern=cut, places=Places(8, 8, index))
    whole, parts = (
        explain("rollout", replace(record, attentions=(one,))).heatmap for one in (seen, as_windows)
    )
    torch.testing.assert_close(whole, parts)


def test_each_image_alone_equals_itself_in_the_batch():
    specimen = small.swin()
    images = small.images(3, 8, 8)
    names = ["rollout", "gradient_rollout", "relevance"]
    together = explain_all(names, specimen, images, torch.arange(3))
    for image in range(3):
        alone = explain_all(names, specimen, images[image : image + 1], torch.tensor([image]))
        for name in names:
            scale = float(together[name].heatmap.max())
            torch.testing.assert_close(
                alone[name].heatmap[0], together[name].heatmap[image], rtol=1e-3, atol=1e-4 * scale
            )
