"""Before any training: can the model learn one batch by heart? If not, more data and time will not help.

What makes learning harder on purpose is off: augmentation (the batch comes as it is), label smoothing, weight decay,
dropout of any kind, averages. Everything else is as in the training: optimizer, rates, clipping, precision.
"""

import copy
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from archaeology.core.device import choose_device, choose_dtype
from archaeology.training.config import TrainConfig
from archaeology.training.optimizers import make_optimizer
from archaeology.training.runtime import Runtime, wrap
from archaeology.training.schedule import rate_factor
from archaeology.training.step import Stepper, floats

CHECK_EVERY = 5
OFF = {
    "weight_decay": 0.0,
    "label_smoothing": 0.0,
    "accumulate": 1,
    "ema": 0.0,
    "drop_path": 0.0,
    "patch_keep": (),
}


@dataclass(frozen=True)
class Overfit:
    """What one batch took: `steps` until all of it was right (`accuracy` is 1.0), and the loss then."""

    steps: int
    accuracy: float
    loss: float

    def sentence(self) -> str:
        """For people."""
        return f"one batch was learned by heart in {self.steps} steps (loss {self.loss:.3g})"


def overfit_one_batch(
    model: nn.Module,
    images: Float[Tensor, "batch channel height width"],
    labels: Int[Tensor, " label"],
    config: TrainConfig,
    *,
    steps: int = 200,
) -> Overfit:
    """Train a copy of `model` on one batch until it names every image of it; the model itself is left as it is.

    Args:
        model: As the training will start with it; maps images to logits (or to a tuple that starts with them).
        images: Ready for the model, not augmented.
        labels: Their classes.
        config: How the training will go.
        steps: At most so many. The rate rises over the first tenth and then stays.

    Raises:
        ValueError: If the batch cannot be learned: because it cannot be at all (not finite, one image with two
            labels, labels that are no class), or because the model does not; says what to look at.
    """
    _check_batch(images, labels)
    config = config.model_copy(update=OFF)
    device = choose_device(config.device)
    learner = copy.deepcopy(model).to(device)
    images, labels = images.to(device), labels.to(device)
    _quiet(learner)
    stepper = Stepper(
        learner,
        wrap(learner, Runtime(device), config.parallel),
        make_optimizer(learner, config),
        _first_loss,
        config,
        choose_dtype(config.dtype, device),
    )
    start = _judged(learner, images, labels)
    if int(labels.max()) >= start.num_classes:
        raise ValueError(
            f"labels must lie in 0..{start.num_classes - 1}, the classes of the model, but go up to "
            f"{int(labels.max())}; build the model with num_classes of the data."
        )
    reached = start
    for step in range(1, steps + 1):
        factor = rate_factor((step - 0.5) / steps, schedule="constant", warmup=0.1)
        for group in stepper.optimizer.param_groups:
            group["lr"] = group["full_lr"] * factor
        loss, norm = stepper(images, labels)
        if not torch.isfinite(loss):
            raise ValueError(
                f"one batch must be learned by heart, but the loss was {float(loss)} at step {step} (gradient norm "
                f"{float(norm):.3g}, learning rate {config.learning_rate * factor:.3g}); lower the learning rate."
            )
        if step % CHECK_EVERY == 0 or step == steps:
            reached = _judged(learner, images, labels)
            if reached.accuracy == 1.0:
                return Overfit(step, reached.accuracy, reached.loss)
    raise ValueError(
        f"{len(images)} images must be learned by heart in {steps} steps, but {reached.accuracy:.1%} of them are named "
        f"rightly (loss {start.loss:.3g} before, {reached.loss:.3g} after, gradient norm {float(norm):.3g}); "
        f"{_advice(start, reached, learner, config)}"
    )


@dataclass(frozen=True)
class _Judged:
    accuracy: float
    loss: float
    num_classes: int


def _first(said: Any) -> Tensor:
    return said if isinstance(said, Tensor) else said[0]


def _first_loss(said: Any, labels: Tensor) -> Tensor:
    return F.cross_entropy(_first(said), labels)


@torch.no_grad()
def _judged(model: nn.Module, images: Tensor, labels: Tensor) -> _Judged:
    """How the model does on the batch, in the mode in which it learns, so that batch norm sees the same batch."""
    logits = _first(floats(model(images)))
    classes = logits.shape[-1]
    right = float((logits.argmax(dim=-1) == labels).double().mean())
    loss = float(F.cross_entropy(logits, labels.clamp(max=classes - 1)))
    return _Judged(right, loss, classes)


def _quiet(model: nn.Module) -> None:
    """Training mode, but nothing is dropped at random."""
    model.train()
    for module in model.modules():
        if "drop" in type(module).__name__.lower():
            module.eval()
        if hasattr(module, "patch_keep"):
            setattr(module, "patch_keep", 1.0)  # noqa: B010, only some models have it


def _check_batch(images: Tensor, labels: Tensor) -> None:
    if len(images) == 0 or len(images) != len(labels):
        raise ValueError(
            f"one batch must have at least one image and a label for each, but has {len(images)} images and "
            f"{len(labels)} labels."
        )
    if not torch.isfinite(images).all():
        broken = torch.nonzero(~torch.isfinite(images).flatten(1).all(dim=1)).flatten().tolist()
        raise ValueError(
            f"images must be finite, but those with numbers {broken[:5]} of the batch are not; look at how they are "
            "decoded and normalised."
        )
    if int(labels.min()) < 0:
        raise ValueError("every image must have a label of 0 or more, but some have none; leave those out.")
    _, which = torch.unique(images.flatten(1), dim=0, return_inverse=True)
    told = len(torch.unique(torch.stack([which, labels.to(which)]), dim=1).T)
    if told > int(which.max()) + 1:
        raise ValueError(
            f"an image must have one label, but {told - int(which.max()) - 1} images of the batch come again with "
            "another; look at how images and labels are paired, and whether all images are the same."
        )


def _advice(start: _Judged, reached: _Judged, model: nn.Module, config: TrainConfig) -> str:
    frozen = [name for name, parameter in model.named_parameters() if not parameter.requires_grad]
    if frozen:
        return f"{len(frozen)} tensors are frozen, so first try --freeze none."
    if reached.loss > start.loss:
        return f"the loss rose, so lower the learning rate ({config.learning_rate:.3g}) tenfold."
    if reached.loss > 0.9 * start.loss:
        return (
            f"the loss hardly fell, so raise the learning rate ({config.learning_rate:.3g}) tenfold, and see that "
            "gradients reach every layer and images are normalised."
        )
    return "the loss falls, so give it more steps or a higher rate, or the model is too small for the batch."
