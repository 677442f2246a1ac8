"""Random changes of training images, batched on their device, different for each image, from one generator."""

from archaeology.data.augment.crop import crop_and_flip as crop_and_flip
from archaeology.data.augment.policy import rand_augment as rand_augment
from archaeology.data.augment.policy import trivial_augment as trivial_augment
