"""A sound model learns one batch by heart; each way in which it cannot is told apart."""

import pytest
import torch
from torch import nn

from archaeology.models import ConvNet, ViT
from archaeology.training.config import TrainConfig
from archaeology.training.overfit import overfit_one_batch

FIXED = {"device": "cpu", "dtype": "float32", "optimizer": "adamw", "learning_rate": 0.003}


def a_batch(count: int = 24, classes: int = 5):
    generator = torch.Generator().manual_seed(2)
    return torch.randn(count, 3, 12, 12, generator=generator), torch.arange(count) % classes


def a_model(**arguments) -> ViT:
    torch.manual_seed(3)
    return ViT(12, 4, 5, embed_dim=48, depth=2, num_heads=3, **arguments)


def test_random_images_are_learned_by_heart_and_the_model_is_left_as_it_was():
    model, (images, labels) = a_model().eval(), a_batch()
    model.patch_keep = 0.5
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    result = overfit_one_batch(model, images, labels, TrainConfig.model_validate(FIXED))
    assert result.accuracy == 1.0 and 0 < result.steps <= 200 and result.loss < 1.5  # log(5) is 1.61
    assert "by heart" in result.sentence()
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(tensor, before[name], rtol=0, atol=0)
    assert not model.training and model.patch_keep == 0.5
    assert all(parameter.grad is None for parameter in model.parameters())


def test_what_makes_learning_harder_is_off():
    images, labels = a_batch()
    hard = TrainConfig.model_validate(
        {**FIXED, "label_smoothing": 0.9, "weight_decay": 9.0, "drop_path": 0.5, "ema": 0.99, "accumulate": 2}
    )
    plain = TrainConfig.model_validate(FIXED)
    assert overfit_one_batch(a_model(), images, labels, hard) == overfit_one_batch(
        a_model(), images, labels, plain
    )


def test_a_network_with_batch_norm_learns_one_batch_too():
    torch.manual_seed(0)
    images, labels = a_batch(16)
    config = TrainConfig.model_validate({**FIXED, "learning_rate": 0.01})
    assert overfit_one_batch(ConvNet(12, 5, widths=(16, 16)), images, labels, config).accuracy == 1.0


def test_frozen_weights_are_named():
    model, (images, labels) = a_model(), a_batch()
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    model.head.bias.requires_grad_(True)
    with pytest.raises(ValueError, match=r"learned by heart in 20 steps.*tensors are frozen.*--freeze none"):
        overfit_one_batch(model, images, labels, TrainConfig.model_validate(FIXED), steps=20)


@pytest.mark.parametrize(
    ("rate", "said"), [(1e-7, "hardly fell, so raise the learning rate"), (1e4, "lower the learning rate")]
)
def test_a_rate_far_off_is_named(rate, said):
    images, labels = a_batch()
    config = TrainConfig.model_validate({**FIXED, "learning_rate": rate})
    with pytest.raises(ValueError, match=said):
        overfit_one_batch(a_model(), images, labels, config, steps=20)


def test_a_model_that_sees_nothing_is_told_to_grow():
    class Blind(nn.Module):
        def __init__(self):
            super().__init__()
            self.bias = nn.Parameter(torch.tensor([-9.0, 0, 0, 0, 0]))

        def forward(self, images):
            return self.bias.expand(len(images), -1)

    images, labels = a_batch()
    config = TrainConfig.model_validate({**FIXED, "learning_rate": 0.3})
    with pytest.raises(ValueError, match="too small for the batch"):
        overfit_one_batch(Blind(), images, labels, config)


def test_batches_that_nobody_could_learn_are_refused():
    images, labels = a_batch()
    config = TrainConfig.model_validate(FIXED)
    with pytest.raises(ValueError, match="1 images of the batch come again with another"):
        overfit_one_batch(
            a_model(), torch.cat([images, images[:1]]), torch.cat([labels, labels[:1] + 1]), config
        )
    broken = images.clone()
    broken[7, 0, 0, 0] = torch.nan
    with pytest.raises(ValueError, match=r"must be finite, but those with numbers \[7\]"):
        overfit_one_batch(a_model(), broken, labels, config)
    with pytest.raises(ValueError, match=r"0\.\.4, the classes of the model, but go up to 8"):
        overfit_one_batch(a_model(), images, labels + 4, config)
    with pytest.raises(ValueError, match="some have none"):
        overfit_one_batch(a_model(), images, labels - 1, config)
    with pytest.raises(ValueError, match="a label for each"):
        overfit_one_batch(a_model(), images, labels[1:], config)


def test_the_same_image_twice_with_the_same_label_is_fine():
    images, labels = a_batch()
    config = TrainConfig.model_validate(FIXED)
    twice = overfit_one_batch(a_model(), torch.cat([images, images]), torch.cat([labels, labels]), config)
    assert twice.accuracy == 1.0
