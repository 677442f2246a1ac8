"""Learning to see without labels: a student learns to say of small crops what its own slow average says of large ones.

`caron2021emerging` (DINO). Nobody says what is to be told apart: student and teacher sort views into prototypes of
their own making. Two forces keep them from saying the same of everything: what the teacher says is centred, so that no
prototype wins always, and sharpened, so that it does not spread evenly. Differs: both encoders have a head of the same
size, made smaller, and the last layer's length is fixed from the start.
"""

import copy
from collections.abc import Sequence

import torch
import torch.distributed as dist
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from archaeology.models.vit import ViT

Said = Float[Tensor, "batch view prototype"]


class PrototypeHead(nn.Module):
    """From an image's features to how well each prototype fits: a small network, then a cosine with each of them."""

    def __init__(self, embed_dim: int, hidden_dim: int, bottleneck_dim: int, num_prototypes: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(embed_dim, hidden_dim),
            nn.GELU(),
            nn.Linear(hidden_dim, hidden_dim),
            nn.GELU(),
            nn.Linear(hidden_dim, bottleneck_dim),
        )
        self.prototypes = nn.Parameter(torch.randn(num_prototypes, bottleneck_dim))
        for layer in self.layers:
            if isinstance(layer, nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=0.02)
                nn.init.zeros_(layer.bias)

    def forward(self, features: Float[Tensor, "batch embed"]) -> Float[Tensor, "batch prototype"]:
        """Cosines, -1 to 1."""
        return F.linear(F.normalize(self.layers(features), dim=-1), F.normalize(self.prototypes, dim=-1))


class Branch(nn.Module):
    """An encoder and its head: the student is one, the teacher another."""

    def __init__(self, encoder: ViT, head: PrototypeHead) -> None:
        super().__init__()
        self.encoder, self.head = encoder, head

    def forward(self, views: Float[Tensor, "batch view channel height width"]) -> Said:
        """What it says of every view; all of them have one size."""
        encoder = self.encoder
        features = encoder.read(encoder.encode(encoder.embed(views.flatten(0, 1))))
        return self.head(features).unflatten(0, views.shape[:2])


class SelfDistillation(nn.Module):
    """Student and teacher.

    Attributes:
        student: Learns by gradients.
        teacher: Follows it (`follow`), and is what is kept.
        centre: Moving mean of what the teacher says of each prototype.
    """

    def __init__(
        self,
        encoder: ViT,
        *,
        hidden_dim: int = 256,
        bottleneck_dim: int = 64,
        num_prototypes: int = 512,
        centre_momentum: float = 0.9,
    ) -> None:
        """Put a head behind the encoder, and begin with a teacher that equals the student.

        Args:
            encoder: With positions that are added to the patches, so that it can look at small crops.
            hidden_dim: Features between the layers of the heads.
            bottleneck_dim: Features in which prototypes are compared.
            num_prototypes: How many there are.
            centre_momentum: Share of the centre that is kept in a step, in [0, 1).

        Raises:
            ValueError: If the encoder cannot look at small crops.
        """
        super().__init__()
        if encoder.knows_places or encoder.positions.kind == "none":
            raise ValueError(
                "the encoder must be able to look at small crops, but its attention itself knows places, or nothing "
                "does; use softmax attention and positions that are added to the patches."
            )
        embed_dim = encoder.prefix.shape[-1]
        self.student = Branch(encoder, PrototypeHead(embed_dim, hidden_dim, bottleneck_dim, num_prototypes))
        self.teacher = copy.deepcopy(self.student).requires_grad_(False)
        self.centre_momentum = centre_momentum
        self.centre: Tensor
        self.register_buffer("centre", torch.zeros(num_prototypes))

    @property
    def encoder(self) -> ViT:
        """What is kept: the teacher's, which is better than the student's all along."""
        return self.teacher.encoder

    def forward(
        self, views: Sequence[Float[Tensor, "batch _ channel _ _"]]
    ) -> tuple[Said, Float[Tensor, "batch large prototype"]]:
        """What the student says of all views, and the teacher, centred, of the first kind of them.

        Args:
            views: Large crops of each image first, at least two, then smaller ones, kind by kind.

        Returns:
            Cosines with the prototypes; those of the teacher without gradient. In training, the centre follows.
        """
        said = torch.cat([self.student(same_size) for same_size in views], dim=1)
        with torch.no_grad():
            taught = self.teacher(views[0]).float()
            centred = taught - self.centre
            if self.training:
                self.centre.lerp_(mean_of_all(taught.mean(dim=(0, 1))), 1 - self.centre_momentum)
        return said, centred

    @torch.no_grad()
    def follow(self, momentum: float) -> None:
        """Move the teacher towards the student; `momentum` in [0, 1] is the share of the teacher that is kept."""
        for slow, quick in zip(self.teacher.parameters(), self.student.parameters(), strict=True):
            slow.lerp_(quick, 1 - momentum)


def mean_of_all(number: Tensor) -> Tensor:
    """The mean over all processes that train together."""
    if not (dist.is_available() and dist.is_initialized()):
        return number
    dist.all_reduce(number, op=dist.ReduceOp.SUM)
    return number / dist.get_world_size()
