"""The contrastive recipe on shapes2d: what is held out is never trained on, and a few steps already run and reopen."""

from dataclasses import replace

import torch

from archaeology.data import decode_once
from archaeology.data.worlds.pairs import SHAPES2D_HELD_OUT, Shapes2DPairs, shapes2d_world
from archaeology.data.worlds.shapes2d_captions import pair_name
from archaeology.models import ImageText
from archaeology.recipes import recipes, run_recipe
from archaeology.recipes.image_text_shapes2d import examples, image_text_shapes2d, is_held_out, stream
from archaeology.represent import zero_shot
from archaeology.specimens.image_text import load_image_text


def test_pairs_held_out_are_never_trained_on_and_all_else_is():
    words = ["", "END", *image_text_shapes2d().arguments["words"]]
    said = set()
    batches = stream(1, 192, 0)
    for _ in range(3):
        (images, tokens), _ = next(batches)
        assert images.shape == (192, 3, 64, 64) and -1 <= float(images.min()) < float(images.max()) <= 1
        said |= {" ".join(words[number] for number in row if number > 1) for row in tokens.tolist()}
    kept = [pair_name(kind, hue) for kind, hue in SHAPES2D_HELD_OUT]
    assert not [text for text in said for name in kept if name in text]
    assert len({" ".join(text.split()[1:4]) for text in said}) == 24 - 6


def test_the_same_scenes_are_held_out_as_in_the_data_set():
    source = Shapes2DPairs("all", 1)
    laid = shapes2d_world(1_000_000).layout(0)
    assert is_held_out(laid).tolist() == [label in source.held_out for label in source.labels()]
    images, kind, hue = examples(30, True)
    never = Shapes2DPairs("never_seen", 1)
    assert (kind * 6 + hue).tolist() == never.labels()[:30]
    assert torch.equal(images[7], never.get(7).image)


def test_streams_go_on_where_they_were():
    first = stream(3, 100, 0)
    next(first)
    (images, tokens), _ = next(first)
    (again, tokens_again), _ = next(stream(3, 100, 1))
    assert torch.equal(images, again) and torch.equal(tokens, tokens_again) and len(images) == 100


def test_scores_of_a_model_that_knows_nothing_are_near_chance():
    torch.manual_seed(0)
    scores = image_text_shapes2d().score(ImageText(**image_text_shapes2d().arguments).eval(), 64)
    assert scores["named of 24 pairs, pair never seen"].value < 0.3
    assert {len(score.part) for score in scores.values()} == {64} and len(scores) == 6


def test_a_few_steps_run_and_the_run_names_images(monkeypatch, tmp_path):
    small = {"patch_size": 16, "embed_dim": 16, "depth": 1, "num_heads": 2, "image_size": 64}
    whole = image_text_shapes2d()
    arguments = {**whole.arguments, "image": small, "text": {"embed_dim": 16, "depth": 1, "num_heads": 2}}
    made = replace(whole, arguments=arguments, steps=2)
    original = recipes.get
    name = "image_text_shapes2d"
    monkeypatch.setattr(recipes, "get", lambda asked: (lambda: made) if asked == name else original(asked))
    run_recipe(name, tmp_path / "run", overrides={"epochs": 1, "batch_size": 16, "threads": 1})
    model = load_image_text(f"run:{tmp_path / 'run'}", device="cpu")
    images = decode_once(Shapes2DPairs("never_seen", 1), (64, 64), folder=tmp_path)
    found = zero_shot(model, images, images.labels, images.classes)
    assert len(found.templates) == 10 and found.num_images == len(images) and len(found.classes) == 24
