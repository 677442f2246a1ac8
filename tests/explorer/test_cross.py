import numpy as np
import pytest
import torch

from archaeology.explain.cross_rollout import cross_rollout, encoder_decoder_patterns
from archaeology.explorer.cross import cross_subjects
from archaeology.explorer.live import Caption
from archaeology.explorer.pack import unpack
from archaeology.models.encoder_decoder import EncoderDecoder

CAPTIONS = [Caption("a", "one"), Caption("b", "two", "seen")]


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return EncoderDecoder(image_size=24, patch_size=8, embed_dim=16, num_heads=2).eval()


def test_words_look_at_patches_as_the_model_does(model):
    images = torch.rand(2, 3, 24, 24)
    words = [f"word {number}" for number in range(9)]
    subjects = cross_subjects(model, [images], images, CAPTIONS, name="ours", grid=(3, 3), queries=words)
    across = encoder_decoder_patterns(model, images).cross
    rolled = cross_rollout(model, images, (3, 3)).heatmap
    for place, subject in enumerate(subjects):
        (found,) = unpack(subject.pack())["models"]
        assert found["kind"] == "encoder-decoder" and found["attention"]["kind"] == "cross"
        assert found["attention"]["queries"] == words
        assert len(found["attention"]["layers"]) == len(across) == 2
        for layer, pattern in zip(found["attention"]["layers"], across, strict=True):
            wanted = pattern[place].detach().numpy()
            assert (np.abs(layer["pattern"] - wanted) <= 0.004 * wanted.max(-1, keepdims=True)).all()
        np.testing.assert_allclose(found["maps"][0]["values"], 9 * rolled[place].numpy(), rtol=1e-4)
    assert subjects[1].label == "seen"


def test_queries_without_names_are_called_by_their_places(model):
    images = torch.rand(1, 3, 24, 24)
    (subject,) = cross_subjects(model, [images], images, CAPTIONS[:1], name="ours", grid=(3, 3))
    assert subject.models[0].attention.queries[3] == "row 2, column 1"


def test_what_does_not_fit_is_refused(model):
    images = torch.rand(2, 3, 24, 24)
    with pytest.raises(ValueError, match="grid must hold the 9 tokens"):
        cross_subjects(model, [images], images, CAPTIONS, name="ours", grid=(4, 4))
    with pytest.raises(ValueError, match="queries must name each of 9 tokens"):
        cross_subjects(model, [images], images, CAPTIONS, name="ours", grid=(3, 3), queries=["one"])
