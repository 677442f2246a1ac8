"""Learning from a teacher: besides the label, the student hears what a trained model says about the same image.

Hard distillation (`touvron2021training`) takes the teacher's answer for a second label; soft distillation
(`hinton2015distilling`) takes its probabilities, softened by a temperature. A student with a seat for the teacher says
two things, and its second is compared with the teacher; any other student's only answer is compared with both.
"""

from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Distillation:
    """An objective on (labels, teacher's logits).

    Attributes:
        kind: "soft" or "hard".
        weight: Share of the teacher in the loss, 0 to 1.
        temperature: That soft distillation divides both sides' logits by; its gradients are scaled back by the square.
        label_smoothing: Of the labels' part.
    """

    kind: str
    weight: float = 0.5
    temperature: float = 3.0
    label_smoothing: float = 0.0

    def __call__(self, said: Any, targets: Any) -> Tensor:
        """The loss of what the student said.

        Args:
            said: Logits [batch class], or a pair: for the labels, and for the teacher.
            targets: Labels (or the share of each class) and the teacher's logits [batch class].
        """
        own, taught = said if isinstance(said, tuple) else (said, said)
        labels, teacher = targets
        from_labels = F.cross_entropy(own, labels, label_smoothing=self.label_smoothing)
        return (1 - self.weight) * from_labels + self.weight * self._from_teacher(taught, teacher)

    def _from_teacher(self, taught: Tensor, teacher: Tensor) -> Tensor:
        if self.kind == "hard":
            return F.cross_entropy(taught, teacher.argmax(dim=1))
        student = F.log_softmax(taught / self.temperature, dim=1)
        wanted = F.log_softmax(teacher / self.temperature, dim=1)
        return self.temperature**2 * F.kl_div(student, wanted, reduction="batchmean", log_target=True)
