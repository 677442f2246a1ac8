"""One step: answer a batch part by part, compare, collect gradients, look at their size, move."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from archaeology.training.adversarial import Adversary, same_buffers
from archaeology.training.config import TrainConfig
from archaeology.training.runtime import Wrapped

#: From what the model says (at least float32; a tuple if it says several things) and what it should say to a loss.
Objective = Callable[[Any, Any], Tensor]


class Stepper:
    """Moves a model by one batch at a time."""

    def __init__(
        self,
        model: nn.Module,
        wrapped: Wrapped,
        optimizer: torch.optim.Optimizer,
        objective: Objective,
        config: TrainConfig,
        dtype: torch.dtype,
        adversary: Adversary | None = None,
    ) -> None:
        self.optimizer = optimizer
        self._model, self._adversary = model, adversary
        self._wrapped, self._objective, self._dtype = wrapped, objective, dtype
        self._parts, self._clip = config.accumulate, config.clip
        self._learns = [one for one in model.parameters() if one.requires_grad and one.numel()]
        device = self._learns[0].device
        self.scaler = torch.amp.GradScaler(device.type, enabled=dtype == torch.float16)
        self._device = device

    def __call__(self, images: Tensor, targets: Any) -> tuple[Tensor, Tensor]:
        """Take a step.

        Args:
            images: This process's share of the batch, ready for the model, on its device.
            targets: What the objective compares with; a tensor or a tuple of tensors, image by image.

        Returns:
            The loss, and the norm of all gradients together before they are clipped (0 for a step that the scaler
            skipped); both stay on the device.
        """
        self.optimizer.zero_grad(set_to_none=True)
        loss = torch.zeros((), device=self._device)
        parts = list(zip(images.chunk(self._parts), chunks(targets, self._parts), strict=True))
        for number, (part, aims) in enumerate(parts, start=1):
            part = self._changed(part, aims)
            self._wrapped.share_gradients(number == len(parts))
            share = self._loss(self._wrapped.forward, part, aims) * (len(part) / len(images))
            self.scaler.scale(share).backward()
            loss += share.detach()
        self.scaler.unscale_(self.optimizer)
        norm = self._clipped()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if (
            self.scaler.is_enabled()
        ):  # a step whose scale was too large is skipped, and says nothing of the gradients
            norm = norm.where(norm.isfinite(), 0.0)
        return loss, norm

    def _loss(self, forward: Callable[[Tensor], Any], images: Tensor, targets: Any) -> Tensor:
        """The loss of these images."""
        with torch.autocast(self._device.type, self._dtype, enabled=self._dtype != torch.float32):
            said = forward(images)
        return self._objective(floats(said), targets)

    def _changed(self, images: Tensor, targets: Any) -> Tensor:
        """The images as the adversary changes them, if there is one.

        It asks the model itself, not what shares gradients among processes. What is drawn at random in each of its
        passes, such as patches to drop, is drawn again in the pass that is learned from.
        """
        if self._adversary is None:
            return images
        cuda = [self._device] if self._device.type == "cuda" else []

        def loss_of(changed: Tensor) -> Tensor:
            with torch.random.fork_rng(cuda):
                return self.scaler.scale(self._loss(self._model, changed, targets))

        with same_buffers(self._model):
            return self._adversary(images, loss_of)

    def _clipped(self) -> Tensor:
        """Clip where asked; the norm before."""
        gradients = [parameter.grad for parameter in self._learns if parameter.grad is not None]
        norm = nn.utils.get_total_norm(gradients)
        if isinstance(norm, DTensor):  # where weights are split among processes
            norm = norm.full_tensor()
        if self._clip is not None:
            nn.utils.clip_grads_with_norm_(self._learns, self._clip, norm)
        return norm.detach()


def chunks(targets: Any, count: int) -> list[Any]:
    """A tensor in `count` parts, or a tuple of tensors in `count` tuples."""
    if isinstance(targets, Tensor):
        return list(targets.chunk(count))
    return list(zip(*(chunks(one, count) for one in targets), strict=True))


def floats(said: Any) -> Any:
    """What a model says in at least float32."""
    return said.float() if isinstance(said, Tensor) else tuple(floats(one) for one in said)


def on_device(things: Any, device: torch.device) -> Any:
    """A tensor, or a tuple of them, on the device."""
    if isinstance(things, Tensor):
        return things.to(device, non_blocking=True)
    return tuple(on_device(one, device) for one in things)
