"""Learning from the worst: before every step each image is changed, within epsilon, so that the loss rises.

`madry2018towards`: minimise over the weights the largest loss that a small change of each image can bring. The inner
maximum is climbed by sign steps inside an L-infinity ball: several of them, or one long one from a random place in the
ball, which costs one more pass through the model and nearly does as well (`wong2020fast`).

TRADES (`zhang2019theoretically`, equation 5) takes the two wishes apart: the loss on the images as they are, plus a
weight times how far the answer can be moved from what it is there, whatever it is; the changed images are those that
move it most. The weight trades accuracy for robustness.

The model is attacked as it is about to be trained: with the statistics of the batch, and with the same patches
dropped. Its running statistics stay as they were, and no gradient reaches a parameter or another process. (The code
of TRADES attacks it with its running statistics.)
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from archaeology.core.shapes import Image
from archaeology.training.config import TrainConfig

FAST_STEP = (
    1.25  # of epsilon: longer than the ball's radius, as one step must get to its border from anywhere
)
PGD_STEP = 0.25  # of epsilon: 2/255 of 8/255, as usual
PGD_STEPS, TRADES_STEPS = 7, 10
TRADES_WEIGHT = 6.0  # 1 / lambda, as the paper's CIFAR-10 model has it
NEAR = 1e-3  # of [0, 1]: where TRADES starts, since an answer's distance from itself has no slope


@dataclass(frozen=True)
class Adversary:
    """The inner maximum, for normalised images.

    Attributes:
        epsilon: Radius of the L-infinity ball, for pixels in [0, 1].
        steps: Gradients that are taken.
        step_size: How far each pixel moves in a step, for pixels in [0, 1].
        mean: Of the normalisation, per channel of images in [0, 1].
        std: Likewise.
        trades: None to learn from the changed images alone; else the weight of how far answers move (TRADES).

    References:
        `madry2018towards`, `wong2020fast`, `zhang2019theoretically`.
    """

    epsilon: float
    steps: int
    step_size: float
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    trades: float | None = None

    def __call__(
        self, images: Image, loss_of: Callable[[Image], Tensor], generator: torch.Generator | None = None
    ) -> Image:
        """Images in the balls around `images` whose loss is high.

        Args:
            images: Normalised.
            loss_of: From changed images to the loss that is to rise; it may be scaled by any positive number.
            generator: Of the random starts; None takes PyTorch's global one, which the loop seeds in every step.
        """
        mean, std = (images.new_tensor(numbers).view(1, -1, 1, 1) for numbers in (self.mean, self.std))
        radius = self.epsilon / std
        low = (images - radius).maximum(-mean / std)
        high = (images + radius).minimum((1 - mean) / std)
        device = images.device if generator is None else generator.device
        draw = torch.rand if self.trades is None else torch.randn
        drawn = draw(images.shape, generator=generator, device=device).to(images)
        start = radius * (2 * drawn - 1) if self.trades is None else NEAR / std * drawn
        found = (images + start).clamp(low, high)
        for _ in range(self.steps):
            found = found.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(loss_of(found), found)
            found = found + self.step_size / std * gradient.sign()  # of what overflowed to NaN: 0
            found = found.clamp(low, high)
        return found.detach()


def adversary_of(
    config: TrainConfig, mean: tuple[float, float, float], std: tuple[float, float, float]
) -> Adversary | None:
    """What the configuration asks for; None where it asks for no adversary."""
    if config.adversarial == "none":
        return None
    steps, share = {
        "fast": (1, FAST_STEP),
        "pgd": (config.attack_steps or PGD_STEPS, PGD_STEP),
        "trades": (config.attack_steps or TRADES_STEPS, PGD_STEP),
    }[config.adversarial]
    step_size = config.attack_step_size or share * config.epsilon
    weight = (config.trades_weight or TRADES_WEIGHT) if config.adversarial == "trades" else None
    return Adversary(config.epsilon, steps, step_size, mean, std, weight)


def divergence(said: Any, reference: Any) -> Tensor:
    """How far answers lie from others: Kullback-Leibler divergence KL(reference, said), mean over images.

    Args:
        said: Logits, or a tuple of them where a model says several things; then the mean over them.
        reference: The same of the reference.
    """
    if isinstance(said, Tensor):
        logs, others = F.log_softmax(said, dim=1), F.log_softmax(reference, dim=1)
        return F.kl_div(logs, others, reduction="batchmean", log_target=True)
    return torch.stack([divergence(one, other) for one, other in zip(said, reference, strict=True)]).mean()


@contextmanager
def same_buffers(model: nn.Module) -> Iterator[None]:
    """After the block the model's buffers, such as running statistics, are as they were before it."""
    before = [(buffer, buffer.clone()) for buffer in model.buffers()]
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, value in before:
                buffer.copy_(value)
