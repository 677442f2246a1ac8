"""Architectures, one per file, and the registry that rebuilds a checkpoint from its name and arguments."""

from archaeology.models.convnet import ConvNet as ConvNet
from archaeology.models.decoder import Decoder as Decoder
from archaeology.models.experts import MixtureOfExperts as MixtureOfExperts
from archaeology.models.generate import Greedy as Greedy
from archaeology.models.generate import Sampling as Sampling
from archaeology.models.generate import generate as generate
from archaeology.models.registry import build as build
from archaeology.models.registry import models as models
from archaeology.models.router import Routing as Routing
from archaeology.models.router import load_balancing_loss as load_balancing_loss
from archaeology.models.vit import ViT as ViT
