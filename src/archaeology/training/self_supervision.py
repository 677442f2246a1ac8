"""What learners without labels are asked to make small: the surprise of a student, of a painter, of a matchmaker.

Each is a function of what its model says; there is no label to compare with. `self_distillation_loss` is DINO's
(`caron2021emerging`), `masked_loss` that of the masked autoencoder (`he2022masked`), and `contrastive_loss` is InfoNCE
(`oord2018representation`) between two kinds of things, both ways, as in CLIP (`radford2021learning`).
"""

import torch
import torch.distributed as dist
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor
from torch.distributed.nn.functional import all_gather

Said = Float[Tensor, "batch view prototype"]
Pixels = Float[Tensor, "batch patch pixel"]


def self_distillation_loss(
    said: tuple[Said, Float[Tensor, "batch large prototype"]],
    _: object = None,
    *,
    student_temperature: float = 0.1,
    teacher_temperature: float = 0.04,
) -> Float[Tensor, ""]:
    """Cross-entropy of what the student says of a view with what the teacher says of another one, over all such pairs.

    Args:
        said: Cosines with the prototypes: the student's of all views, the large ones first, and the teacher's, centred.
        student_temperature: By which the student's are divided.
        teacher_temperature: By which the teacher's are divided; smaller, so that it is the surer one.
    """
    student, teacher = said
    guesses = F.log_softmax(student / student_temperature, dim=-1)
    truth = F.softmax(teacher.detach() / teacher_temperature, dim=-1)
    surprise = -torch.einsum("ilp,ivp->lv", truth, guesses) / len(student)
    is_other = ~torch.eye(*surprise.shape, dtype=torch.bool, device=surprise.device)
    return surprise[is_other].mean()


def masked_loss(
    said: tuple[Pixels, Pixels, Bool[Tensor, "batch patch"] | Float[Tensor, "batch patch"]],
    _: object = None,
) -> Float[Tensor, ""]:
    """Mean squared error of the pixels of hidden patches.

    Args:
        said: What the patches are guessed to show, what they show, and whether each one was hidden.
    """
    guessed, wanted, is_hidden = said
    error = (guessed - wanted).square().mean(dim=-1)
    return (error * is_hidden).sum() / is_hidden.sum()


def contrastive_loss(
    said: tuple[Float[Tensor, "batch embed"], Float[Tensor, "batch embed"], Float[Tensor, ""]],
    _: object = None,
) -> Float[Tensor, ""]:
    """How surprising it is which text belongs to which image, and which image to which text, among all of the batch.

    Processes that train together compare their images with the texts of all.

    Args:
        said: Features of images and of their texts, each of length one, and what their products are multiplied by.
    """
    images, texts, scale = said
    first, num = 0, len(images)
    if dist.is_available() and dist.is_initialized():
        first = dist.get_rank() * num
    own = torch.arange(first, first + num, device=images.device)
    of_images = scale * images @ gathered(texts).T
    of_texts = scale * texts @ gathered(images).T
    return (F.cross_entropy(of_images, own) + F.cross_entropy(of_texts, own)) / 2


def gathered(features: Float[Tensor, "batch embed"]) -> Float[Tensor, "all embed"]:
    """The features of all processes, in their order; gradients find their way back to the process they belong to."""
    if not (dist.is_available() and dist.is_initialized()):
        return features
    return torch.cat(all_gather(features))
