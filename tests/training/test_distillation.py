"""The loss of distillation, against the papers' formulas written out number by number."""

import math

import pytest
import torch

from archaeology.training.distillation import Distillation

SAID = torch.tensor([[2.0, 0.0, -1.0], [0.5, 0.5, 3.0]])
TAUGHT = torch.tensor([[0.0, 1.0, 0.0], [1.0, 0.0, 2.0]])
TEACHER = torch.tensor([[1.0, 3.0, 0.0], [0.0, 0.0, 4.0]])
LABELS = torch.tensor([0, 2])


def probabilities(logits, temperature=1.0):
    powers = [math.exp(value / temperature) for value in logits]
    return [power / sum(powers) for power in powers]


def cross_entropy(logits, label):
    return -math.log(probabilities(logits)[label])


def test_hard_hears_the_teachers_answer_as_a_second_label():
    loss = Distillation("hard", weight=0.5)((SAID, TAUGHT), (LABELS, TEACHER))
    expected = 0.0
    for number in range(2):
        answer = max(range(3), key=TEACHER[number].tolist().__getitem__)
        expected += 0.5 * cross_entropy(SAID[number].tolist(), int(LABELS[number])) / 2
        expected += 0.5 * cross_entropy(TAUGHT[number].tolist(), answer) / 2
    assert float(loss) == pytest.approx(expected, rel=1e-6)


def test_soft_is_the_divergence_of_softened_probabilities():
    loss = Distillation("soft", weight=0.3, temperature=2.0)(SAID, (LABELS, TEACHER))
    expected = 0.0
    for number in range(2):
        student = probabilities(SAID[number].tolist(), 2.0)
        teacher = probabilities(TEACHER[number].tolist(), 2.0)
        divergence = sum(t * math.log(t / s) for t, s in zip(teacher, student, strict=True))
        expected += (
            0.7 * cross_entropy(SAID[number].tolist(), int(LABELS[number])) + 0.3 * 4 * divergence
        ) / 2
    assert float(loss) == pytest.approx(expected, rel=1e-6)


def test_without_weight_the_teacher_is_not_heard():
    loss = Distillation("hard", weight=0.0)(SAID, (LABELS, TEACHER))
    assert float(loss) == pytest.approx(float(torch.nn.functional.cross_entropy(SAID, LABELS)))
