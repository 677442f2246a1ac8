"""Auto-PGD: gradient ascent that finds its own step size, so that no bad choice of one makes a model look robust.

It begins with steps of twice epsilon. At checkpoints ever nearer to each other, an image whose loss rose in too few of
the last steps, or whose best loss has not risen since the last checkpoint, goes back to the best place it has seen
and on with half the step. Source: `croce2020reliable`. Differs: an image that the model is wrong about is not asked
about again; each restart begins with those that no earlier one broke.
"""

from dataclasses import dataclass, fields
from itertools import accumulate

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from archaeology.attacks.climb import check_counts
from archaeology.attacks.losses import LOSSES
from archaeology.attacks.method import Aim, attack
from archaeology.attacks.norms import each, project, random_start, steepest
from archaeology.attacks.victim import Answer, Victim
from archaeology.core.shapes import Image, Label

PerImage = Float[Tensor, " batch"]
MOMENTUM = 0.75  # share of a new step; the rest goes on as before
RISING = 0.75  # share of steps that must raise the loss


@attack("apgd", title="Auto-PGD", norms=("linf", "l2"))
def apgd(
    victim: Victim,
    aim: Aim,
    *,
    steps: int = 50,
    restarts: int = 1,
    loss: str = "cross_entropy",
    second_loss: str | None = None,
) -> Image:
    """The images where the model is wrong, or those of the highest loss seen where it never was.

    Args:
        victim: The model.
        aim: What to break.
        steps: Of each restart, at least 1; it asks for as many gradients.
        restarts: Times to begin anew, each from another random place, at least 1.
        loss: Of `LOSSES`; "dlr" and "margin" do not vanish where the model is very sure.
        second_loss: Climbed once more, with as many steps, by what stands after all restarts; None to leave it at that.

    Raises:
        ValueError: If a number is out of its range.

    References:
        `croce2020reliable`. Differs: see the module.
    """
    check_counts(steps=steps, restarts=restarts)
    found = aim.images.clone()
    left = aim.rows
    for restart, raised in enumerate([loss] * restarts + ([second_loss] if second_loss else [])):
        if not len(left):
            break
        here = aim.only(left)
        start = random_start(here.normal("start", restart), here.images, here.epsilon, aim.norm)
        left = ascend(victim, aim, start, left, found, steps, raised)
    return found


def ascend(
    victim: Victim,
    aim: Aim,
    start: Image,
    rows: Int[Tensor, " batch"],
    found: Float[Tensor, "all channel height width"],
    steps: int,
    loss: str,
) -> Int[Tensor, " standing"]:
    """Climb from `start`; write what is found into `found`, and return the rows that still stand."""
    front = Front.at(aim, start, rows, victim.gradient(start, aim.labels[rows], rows, loss)).kept(found)
    windows = checkpoints(steps)
    for step in range(1, steps + 1):
        if not len(front.rows):
            break
        front.move(1.0 if step == 1 else MOMENTUM, aim.norm)
        front.take(ask(victim, front, loss, last=step == steps))
        front = front.kept(found)
        if step in windows:
            front.check(windows[step])
    found[front.rows] = front.best
    return front.rows


def ask(victim: Victim, front: "Front", loss: str, *, last: bool) -> Answer:
    """What the model says; without a gradient when no step follows."""
    if not last:
        return victim.gradient(front.images, front.labels, front.rows, loss)
    logits = victim.logits(front.images, front.rows)
    return Answer(logits, LOSSES[loss](logits, front.labels), front.gradient)


def checkpoints(steps: int) -> dict[int, int]:
    """After which steps the rise of the loss is judged, and over how many; windows shrink from 22 % to 6 % of all."""
    first, least, less = (max(int(share * steps), 1) for share in (0.22, 0.06, 0.03))
    windows = [max(first - number * less, least) for number in range(steps)]
    return dict(zip(accumulate(windows), windows, strict=True))


@dataclass(eq=False)
class Front:
    """Where each image stands that is not broken yet; its fields are changed in place, step by step.

    Attributes:
        rows: Which of all images they are.
        original: Before the attack.
        labels: Their classes.
        epsilon: How far each may go.
        images: Where they are.
        before: Where they were a step ago.
        gradient: At `images`.
        loss: At `images`.
        wrong: Whether the model is wrong there.
        best: Where the loss was highest.
        best_loss: There.
        best_gradient: There.
        stride: Step size.
        rises: Steps since the last checkpoint that raised the loss.
        best_at_check: Best loss at the last checkpoint.
        halved: Whether the stride was halved there.
    """

    rows: Int[Tensor, " batch"]
    original: Image
    labels: Label
    epsilon: PerImage
    images: Image
    before: Image
    gradient: Image
    loss: PerImage
    wrong: Bool[Tensor, " batch"]
    best: Image
    best_loss: PerImage
    best_gradient: Image
    stride: PerImage
    rises: Int[Tensor, " batch"]
    best_at_check: PerImage
    halved: Bool[Tensor, " batch"]

    @classmethod
    def at(cls, aim: Aim, images: Image, rows: Int[Tensor, " batch"], answer: Answer) -> "Front":
        """The beginning."""
        labels = aim.labels[rows]
        wrong = answer.wrong(labels)
        return cls(
            rows=rows,
            original=aim.images[rows],
            labels=labels,
            epsilon=aim.epsilon[rows],
            images=images,
            before=images,
            gradient=answer.gradient,
            loss=answer.losses,
            wrong=wrong,
            best=images.clone(),
            best_loss=answer.losses.clone(),
            best_gradient=answer.gradient.clone(),
            stride=2 * aim.epsilon[rows],
            rises=torch.zeros_like(rows),
            best_at_check=answer.losses.clone(),
            halved=torch.ones_like(wrong),  # so that the first checkpoint judges by the rises alone
        )

    def kept(self, found: Float[Tensor, "all channel height width"]) -> "Front":
        """Those that still stand; the others go into `found`."""
        if not self.wrong.any():
            return self
        found[self.rows[self.wrong]] = self.images[self.wrong]
        stand = (~self.wrong).nonzero()[:, 0]
        return Front(**{field.name: getattr(self, field.name)[stand] for field in fields(self)})

    def move(self, momentum: float, norm: str) -> None:
        """A step along the gradient, and on along the last one."""
        step = each(self.stride) * steepest(self.gradient, norm)
        ahead = project(self.images + step, self.original, self.epsilon, norm)
        moved = self.images + momentum * (ahead - self.images) + (1 - momentum) * (self.images - self.before)
        self.before = self.images
        self.images = project(moved, self.original, self.epsilon, norm)

    def take(self, answer: Answer) -> None:
        """Note what the model says of where the images are now."""
        self.rises += answer.losses > self.loss
        self.gradient, self.loss, self.wrong = answer.gradient, answer.losses, answer.wrong(self.labels)
        better = self.loss > self.best_loss
        self.best[better] = self.images[better]
        self.best_gradient[better] = self.gradient[better]
        self.best_loss = torch.maximum(self.best_loss, self.loss)

    def check(self, window: int) -> None:
        """Halve the stride of images that get nowhere, and send them back to their best place."""
        seldom = self.rises <= RISING * window
        stuck = ~self.halved & (self.best_at_check >= self.best_loss)
        self.halved = seldom | stuck
        self.best_at_check, self.rises = self.best_loss.clone(), torch.zeros_like(self.rises)
        back = self.halved
        self.stride = torch.where(back, self.stride / 2, self.stride)
        self.images = torch.where(each(back), self.best, self.images)
        self.gradient = torch.where(each(back), self.best_gradient, self.gradient)
        self.loss = torch.where(back, self.best_loss, self.loss)
