"""The masked autoencoder: what is hidden stays hidden, what is visible keeps its place, the loss counts the rest."""

import pytest
import torch

from archaeology.models import MaskedAutoencoder, ViT
from archaeology.models.masked_autoencoder import slot_of, standardised
from archaeology.training.self_supervision import masked_loss


def encoder(**changes):
    torch.manual_seed(0)
    sizes = {"image_size": (12, 20), "num_classes": 7, "embed_dim": 24, "depth": 2, "num_heads": 3}
    return ViT(**{**sizes, **changes}).eval()


def learner(**changes):
    return MaskedAutoencoder(encoder(**changes), mask_share=0.6, embed_dim=8, depth=1, num_heads=2)


@pytest.mark.parametrize("pooling", ["mean", "class_token"])
def test_as_many_patches_of_every_image_are_hidden_and_others_each_time(pooling):
    model = learner(pooling=pooling)
    guessed, wanted, is_hidden = model(torch.randn(3, 3, 12, 20))
    assert guessed.shape == wanted.shape == (3, 15, 48)
    assert is_hidden.sum(dim=1).tolist() == [9, 9, 9]
    assert not torch.equal(is_hidden, model.hidden(3, torch.device("cpu")))


def test_the_encoder_never_sees_what_is_hidden():
    model = learner()
    images, other = torch.randn(2, 3, 12, 20), torch.randn(2, 3, 12, 20)
    is_hidden = model.hidden(2, torch.device("cpu"))
    cover = is_hidden.view(2, 1, 3, 1, 5, 1).expand(-1, 3, -1, 4, -1, 4).reshape(2, 3, 12, 20)
    seen, seen_again = (model.see(some, ~is_hidden) for some in (images, torch.where(cover, other, images)))
    torch.testing.assert_close(seen, seen_again)
    assert not torch.allclose(seen, model.see(torch.where(cover, images, other), ~is_hidden))


def test_tokens_go_back_to_the_places_they_came_from():
    is_hidden = torch.tensor([[False, True, False, True, False], [True, True, False, False, False]])
    slots = slot_of(is_hidden)
    for row in range(2):
        expected = 0
        for patch in range(5):
            if not is_hidden[row, patch]:
                assert int(slots[row, patch]) == expected
                expected += 1


def test_the_decoder_is_told_nothing_of_hidden_patches_but_their_places():
    model = learner()
    is_hidden = torch.zeros(1, 15, dtype=torch.bool)
    is_hidden[0, [0, 1, 4, 6, 7, 9, 11, 12, 14]] = True
    model.blocks = torch.nn.ModuleList()  # so that a token's pixels depend on that token alone
    seen = torch.randn(1, 6, 24)
    changed = seen.clone()
    changed[0, 2] += 1  # the third visible patch: number 5
    differs = (model.guess(seen, is_hidden) - model.guess(changed, is_hidden)).abs().sum(-1)[0] > 1e-6
    assert differs.nonzero()[:, 0].tolist() == [5]


def test_the_loss_is_that_of_hidden_patches_by_loops():
    guessed, wanted = torch.randn(2, 5, 7), torch.randn(2, 5, 7)
    is_hidden = torch.tensor([[1.0, 0, 1, 0, 0], [0, 1, 0, 1, 1]])
    errors = []
    for image in range(2):
        for patch in range(5):
            if is_hidden[image, patch]:
                squares = [
                    float(guessed[image, patch, pixel] - wanted[image, patch, pixel]) ** 2
                    for pixel in range(7)
                ]
                errors.append(sum(squares) / 7)
    expected = torch.tensor(sum(errors) / len(errors))
    torch.testing.assert_close(masked_loss((guessed, wanted, is_hidden)), expected)


def test_patches_are_standardised_and_flat_ones_stay_finite():
    patches = torch.randn(2, 3, 48) * 5 + 2
    patches[0, 0] = 1.0
    found = standardised(patches)
    assert bool(found.isfinite().all()) and not bool(found[0, 0].any())
    torch.testing.assert_close(found[1].std(dim=-1), torch.ones(3), atol=1e-4, rtol=0)


def test_every_parameter_but_the_head_learns():
    model = learner(pooling="class_token").train()
    masked_loss(model(torch.randn(4, 3, 12, 20))).backward()
    without = [name for name, one in model.named_parameters() if one.grad is None or not bool(one.grad.any())]
    assert without == ["encoder.head.weight", "encoder.head.bias"]


def test_encoders_that_need_all_patches_are_refused():
    with pytest.raises(ValueError, match="without the others"):
        MaskedAutoencoder(encoder(positions="rotary", embed_dim=24))
    with pytest.raises(ValueError, match="at least one of 15 patches"):
        MaskedAutoencoder(encoder(), mask_share=0.99)
