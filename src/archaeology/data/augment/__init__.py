"""Random changes of training images, batched on their device, different for each image, from one generator."""

from archaeology.data.augment.augmentation import Augmentation as Augmentation
from archaeology.data.augment.colour import colour as colour
from archaeology.data.augment.crop import crop_and_flip as crop_and_flip
from archaeology.data.augment.erasing import erasing as erasing
from archaeology.data.augment.mix import mix as mix
from archaeology.data.augment.policy import rand_augment as rand_augment
from archaeology.data.augment.policy import trivial_augment as trivial_augment
