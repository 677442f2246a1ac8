"""One step: answer a batch part by part, compare, collect gradients, look at their size, move."""

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from archaeology.training.adversarial import Adversary, divergence, same_buffers
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
        self._cuda = [device] if device.type == "cuda" else []

    def __call__(self, images: Any, targets: Any) -> tuple[Tensor, Tensor]:
        """Take a step.

        Args:
            images: This process's share of the batch, ready for the model, on its device; a tensor or a tuple of
                tensors, image by image.
            targets: What the objective compares with; a tensor or a tuple of tensors, image by image.

        Returns:
            The loss, and the norm of all gradients together before they are clipped (0 for a step that the scaler
            skipped); both stay on the device.
        """
        self.optimizer.zero_grad(set_to_none=True)
        loss = torch.zeros((), device=self._device)
        parts = list(zip(chunks(images, self._parts), chunks(targets, self._parts), strict=True))
        for number, (part, aims) in enumerate(parts, start=1):
            changed = self._changed(part, aims)
            self._wrapped.share_gradients(number == len(parts))
            share = self._learnt(part, changed, aims) * (count_of(part) / count_of(images))
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

    def _said(self, forward: Callable[[Any], Any], images: Any) -> Any:
        """What the model says, in at least float32."""
        with torch.autocast(self._device.type, self._dtype, enabled=self._dtype != torch.float32):
            return floats(forward(images))

    def _learnt(self, images: Any, changed: Any, targets: Any) -> Tensor:
        """The loss that is learned from: of the changed images; with TRADES of the images, and how far answers move.

        There the images go through the model itself, with the same random numbers, and the changed ones through what
        shares gradients among processes, which wants to be asked once; all gradients arrive together.
        """
        if self._adversary is None or self._adversary.trades is None:
            return self._objective(self._said(self._wrapped.forward, changed), targets)
        with torch.random.fork_rng(self._cuda):
            plain = self._said(self._model, images)
        moved = divergence(self._said(self._wrapped.forward, changed), plain)
        return self._objective(plain, targets) + self._adversary.trades * moved

    def _changed(self, images: Any, targets: Any) -> Any:
        """The images as the adversary changes them, if there is one.

        It asks the model itself, not what shares gradients among processes. What is drawn at random in each of its
        passes, such as patches to drop, is drawn again in the pass that is learned from.
        """
        adversary = self._adversary
        if adversary is None:
            return images

        def said(some: Any) -> Any:
            with torch.random.fork_rng(self._cuda):
                return self._said(self._model, some)

        with same_buffers(self._model):
            if adversary.trades is None:
                return adversary(images, lambda some: self.scaler.scale(self._objective(said(some), targets)))

            @cache
            def plain() -> (
                Any
            ):  # asked when the adversary has drawn its start, so that the same patches are dropped
                with torch.no_grad():
                    return said(images)

            return adversary(images, lambda some: self.scaler.scale(divergence(said(some), plain())))

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


def count_of(images: Any) -> int:
    """How many images a tensor, or a tuple of tensors, speaks of."""
    return len(images) if isinstance(images, Tensor) else count_of(images[0])


def floats(said: Any) -> Any:
    """What a model says in at least float32."""
    return said.float() if isinstance(said, Tensor) else tuple(floats(one) for one in said)


def on_device(things: Any, device: torch.device) -> Any:
    """A tensor, or a tuple of them, on the device."""
    if isinstance(things, Tensor):
        return things.to(device, non_blocking=True)
    return tuple(on_device(one, device) for one in things)
