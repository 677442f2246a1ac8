"""Self-distillation: the teacher follows slowly, is centred, and the loss pairs different views only."""

import copy
import math

import pytest
import torch

from archaeology.models import SelfDistillation, ViT
from archaeology.training.self_supervision import self_distillation_loss


def encoder(**changes):
    torch.manual_seed(0)
    sizes = {"image_size": 16, "num_classes": 7, "embed_dim": 24, "depth": 2, "num_heads": 3}
    return ViT(**{**sizes, "pooling": "class_token", **changes})


def learner(**changes):
    return SelfDistillation(encoder(**changes), hidden_dim=10, bottleneck_dim=6, num_prototypes=11)


def views():
    return torch.randn(3, 2, 3, 16, 16), torch.randn(3, 5, 3, 8, 8)


def test_the_student_sees_all_views_and_the_teacher_the_large_ones():
    model = learner()
    said, taught = model(views())
    assert said.shape == (3, 7, 11) and taught.shape == (3, 2, 11)
    assert said.requires_grad and not taught.requires_grad


def test_views_are_answered_one_by_one():
    model, (large, small) = learner().eval(), views()
    said, _ = model((large, small))
    for image in range(3):
        for view in range(5):
            alone = model.student(small[image : image + 1, view : view + 1])
            torch.testing.assert_close(alone[0, 0], said[image, 2 + view])


def test_teacher_begins_as_the_student_and_follows_it():
    model = learner()
    start = copy.deepcopy(list(model.teacher.parameters()))
    with torch.no_grad():
        for parameter in model.student.parameters():
            parameter.add_(1.0)
    model.follow(0.75)
    for before, after in zip(start, model.teacher.parameters(), strict=True):
        torch.testing.assert_close(after, before + 0.25)
    assert model.encoder is model.teacher.encoder


def test_the_centre_moves_in_training_only_towards_what_the_teacher_says():
    model, shown = learner(), views()
    model.eval()(shown)
    assert not bool(model.centre.any())
    said = model.teacher(shown[0]).mean(dim=(0, 1))
    model.train()(shown)
    torch.testing.assert_close(model.centre, 0.1 * said.detach())
    _, taught = model(shown)
    torch.testing.assert_close(taught, model.teacher(shown[0]).detach() - 0.1 * said.detach())


def test_the_loss_by_loops():
    student, teacher = torch.randn(2, 5, 7).double(), torch.randn(2, 3, 7).double()
    total, pairs = 0.0, 0
    for seen_by_teacher in range(3):
        for seen_by_student in range(5):
            if seen_by_teacher == seen_by_student:
                continue
            for image in range(2):
                truth = [math.exp(float(value) / 0.04) for value in teacher[image, seen_by_teacher]]
                guess = [math.exp(float(value) / 0.1) for value in student[image, seen_by_student]]
                for place in range(7):
                    total -= truth[place] / sum(truth) * math.log(guess[place] / sum(guess))
                pairs += 1
    found = self_distillation_loss((student, teacher))
    torch.testing.assert_close(found, torch.tensor(total / pairs, dtype=torch.float64))


def test_only_the_student_learns_and_all_of_it_but_the_head():
    model = learner().train()
    self_distillation_loss(model(views())).backward()
    without = {name for name, one in model.named_parameters() if one.grad is None or not bool(one.grad.any())}
    assert {name for name in without if not name.startswith("teacher.")} == {
        "student.encoder.head.weight",
        "student.encoder.head.bias",
    }


def test_crops_get_the_places_of_the_whole_grid():
    model = encoder(positions="learnable")
    with torch.no_grad():
        model.positions.table.copy_(
            torch.arange(16.0).view(4, 4)[:, :, None].expand(-1, -1, 24).reshape(1, 16, 24)
        )
        model.patch_embed.weight.zero_()
        model.patch_embed.bias.zero_()
    small = model.embed(torch.randn(1, 3, 8, 8)).detach()[0, :, 0]
    assert small.shape == (4,)
    assert (
        float(small[0]) < 5 < 10 < float(small[3])
    )  # from the upper left to the lower right of the whole grid


def test_encoders_that_cannot_look_at_crops_are_refused():
    with pytest.raises(ValueError, match="small crops"):
        learner(positions="rotary")
    with pytest.raises(ValueError, match="small crops"):
        learner(positions="none")
