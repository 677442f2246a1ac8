"""Batches to train on: shuffled, cut into the parts that processes work on, augmented, mixed, shown to the teacher.

Every part of every batch has a generator of its own, so two processes see what one sees that works through the same
two parts, and a training that goes on sees what it would have seen.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from archaeology.core.device import choose_dtype
from archaeology.core.seeding import torch_generator
from archaeology.data.augment import Augmentation
from archaeology.specimens.specimen import Specimen
from archaeology.training.config import TrainConfig
from archaeology.training.runtime import Runtime


@dataclass(frozen=True)
class AugmentedBatches:
    """Called with an epoch's number, yields what this process trains on; the last incomplete batch is left out.

    Attributes:
        specimen: Prepares images for the model.
        images: 8 bit, all of them.
        labels: Their classes.
        config: Batch size, parts, augmentation, seed.
        runtime: This process.
        teacher: Whose answers to the augmented images go with the labels; None for none.
    """

    specimen: Specimen
    images: Tensor
    labels: Tensor
    config: TrainConfig
    runtime: Runtime
    teacher: Specimen | None = None

    @property
    def per_epoch(self) -> int:
        """Batches of an epoch; one, smaller, where there are fewer images than a batch has."""
        return batches_of(len(self.images), self.config)

    def __call__(self, epoch: int) -> Iterator[tuple[Tensor, Any]]:
        """Images for the model and targets: labels or shares of classes, beside the teacher's logits if it has one."""
        return shared_out(len(self.images), self.config, self.runtime, epoch, self._part)

    def _part(self, chosen: Tensor, address: tuple[int, int, int]) -> tuple[Tensor, Any]:
        config, device = self.config, self.runtime.device
        augmentation = augmentation_of(config)
        generator = torch_generator(config.seed, "augment", *address)
        images = augmentation(self.images[chosen].to(device), generator)
        targets = self.labels[chosen].to(device)
        if config.mixup or config.cutmix:
            images, targets = augmentation.mix(
                images.float() / 255, targets, generator, len(self.specimen.classes)
            )
            images = images.clamp(0, 1)
        prepared = self.specimen.prepare(images)
        return prepared, targets if self.teacher is None else (targets, self._taught(images))

    @torch.no_grad()
    def _taught(self, images: Tensor) -> Tensor:
        """What the teacher says of these images, in the precision of the training."""
        assert self.teacher is not None
        dtype = choose_dtype(self.config.dtype, self.runtime.device)
        with torch.autocast(self.runtime.device.type, dtype, enabled=dtype != torch.float32):
            return self.teacher.predict(images).float()


def batches_of(num_images: int, config: TrainConfig) -> int:
    """How many batches an epoch has; the last incomplete one is left out, unless it is the only one."""
    return max(1, num_images // config.batch_size)


def shared_out(
    num_images: int,
    config: TrainConfig,
    runtime: Runtime,
    epoch: int,
    part: Callable[[Tensor, tuple[int, int, int]], tuple[Any, Any]],
) -> Iterator[tuple[Any, Any]]:
    """This process's share of every batch of an epoch, in an order of the epoch's own.

    Args:
        num_images: All of them.
        config: Batch size, parts, seed.
        runtime: This process.
        epoch: Its number.
        part: From numbers of images and the address of the part (epoch, batch, share) to what the model takes and what
            it is compared with; called once for every part that a process works through.
    """
    order = torch.randperm(num_images, generator=torch_generator(config.seed, "epoch", epoch))
    parts = config.accumulate
    for number, batch in enumerate(order.split(config.batch_size)[: batches_of(num_images, config)]):
        shares = batch.chunk(runtime.world_size * parts)
        mine = range(runtime.rank * parts, min((runtime.rank + 1) * parts, len(shares)))
        made = [part(shares[share], (epoch, number, share)) for share in mine]
        yield joined([given for given, _ in made]), joined([wanted for _, wanted in made])


def augmentation_of(config: TrainConfig) -> Augmentation:
    """What the configuration says is done to images; labels are smoothed by the objective."""
    names = ("crop_padding", "flip", "policy", "colour", "erasing", "mixup", "cutmix")
    return Augmentation(**{name: getattr(config, name) for name in names})


def joined(parts: list[Any]) -> Any:
    """Tensors, or tuples of them, end to end."""
    if len(parts) == 1:
        return parts[0]
    if isinstance(parts[0], Tensor):
        return torch.cat(parts)
    return tuple(joined(list(part)) for part in zip(*parts, strict=True))
