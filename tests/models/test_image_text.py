"""Images and texts in one space: words become numbers, padding says nothing, and the loss is that of the paper."""

import math

import pytest
import torch

from archaeology.data.words import Vocabulary, words_of
from archaeology.models import ImageText
from archaeology.training.self_supervision import contrastive_loss

WORDS = words_of(["a red circle, upper left", "Two blue squares"])


def model():
    torch.manual_seed(0)
    image = {"image_size": 8, "embed_dim": 12, "depth": 1, "num_heads": 3}
    text = {"embed_dim": 10, "depth": 1, "num_heads": 2}
    return ImageText(WORDS, max_length=7, embed_dim=5, image=image, text=text)


def test_words_are_numbered_and_texts_end():
    vocabulary = Vocabulary(("a", "circle", "red"), 6)
    assert vocabulary.encode(["a red Circle", "red"]).tolist() == [[2, 4, 3, 1, 0, 0], [4, 1, 0, 0, 0, 0]]
    assert vocabulary.ends(vocabulary.encode(["a red circle", "red"])).tolist() == [3, 1]
    assert len(vocabulary) == 5


def test_unknown_words_and_long_texts_are_named():
    vocabulary = Vocabulary(("a", "circle", "red"), 4)
    with pytest.raises(ValueError, match="'a green circle' has green"):
        vocabulary.encode(["a red circle", "a green circle"])
    with pytest.raises(ValueError, match="at most 3 words"):
        vocabulary.encode(["a red red circle"])
    with pytest.raises(ValueError, match="each of them once"):
        Vocabulary(("a", "a"), 4)
    with pytest.raises(ValueError, match="lower case"):
        Vocabulary(("a", "Red"), 4)


def test_features_have_length_one_and_padding_says_nothing():
    shown = model().eval()
    texts = shown.encode_texts(["a red circle", "two squares"])
    torch.testing.assert_close(texts.norm(dim=1), torch.ones(2))
    tokens = shown.vocabulary.encode(["a red circle"])
    tokens[0, 5:] = 3  # behind the end
    torch.testing.assert_close(shown.encode_tokens(tokens), texts[:1])
    images = shown.encode_images(torch.randn(3, 3, 8, 8))
    torch.testing.assert_close(images.norm(dim=1), torch.ones(3))


def test_each_text_alone_is_each_text_in_the_batch():
    shown = model().eval()
    texts = ["a red circle", "two blue squares", "left"]
    together = shown.encode_texts(texts)
    for row, text in enumerate(texts):
        torch.testing.assert_close(shown.encode_texts([text])[0], together[row])


def test_the_loss_by_loops():
    images, texts = (torch.nn.functional.normalize(torch.randn(5, 3).double(), dim=1) for _ in range(2))
    scale, total = 7.0, 0.0
    for own in range(5):
        for row, others in ((images[own], texts), (texts[own], images)):
            scores = [
                math.exp(scale * sum(float(a) * float(b) for a, b in zip(row, other, strict=True)))
                for other in others
            ]
            total -= math.log(scores[own] / sum(scores)) / 10
    found = contrastive_loss((images, texts, torch.tensor(scale, dtype=torch.float64)))
    torch.testing.assert_close(found, torch.tensor(total, dtype=torch.float64))


def test_the_scale_learns_and_has_a_limit():
    shown = model()
    pairs = (torch.randn(4, 3, 8, 8), shown.vocabulary.encode(["a", "red", "blue", "left"]))
    contrastive_loss(shown(pairs)).backward()
    grads = {name: one.grad for name, one in shown.named_parameters()}
    assert sorted(name for name, grad in grads.items() if grad is None) == ["text.head.weight"]
    with torch.no_grad():
        shown.log_scale.fill_(9.0)
    assert float(shown.scale.detach()) == pytest.approx(100.0)
