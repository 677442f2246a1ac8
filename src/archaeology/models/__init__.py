"""Architectures, one per file, and the registry that rebuilds a checkpoint from its name and arguments."""

from archaeology.models.attention1d import Attention1D as Attention1D
from archaeology.models.convnet import ConvNet as ConvNet
from archaeology.models.convnet1d import ConvNet1D as ConvNet1D
from archaeology.models.decoder import Decoder as Decoder
from archaeology.models.deit import DeiT as DeiT
from archaeology.models.drop_path import DropPath as DropPath
from archaeology.models.drop_path import set_drop_path as set_drop_path
from archaeology.models.efficientvit import EfficientViT as EfficientViT
from archaeology.models.encoder_decoder import EncoderDecoder as EncoderDecoder
from archaeology.models.experts import MixtureOfExperts as MixtureOfExperts
from archaeology.models.fully_connected import FullyConnected as FullyConnected
from archaeology.models.generate import Greedy as Greedy
from archaeology.models.generate import Sampling as Sampling
from archaeology.models.generate import generate as generate
from archaeology.models.image_text import ImageText as ImageText
from archaeology.models.masked_autoencoder import MaskedAutoencoder as MaskedAutoencoder
from archaeology.models.recurrent import Recurrent as Recurrent
from archaeology.models.registry import build as build
from archaeology.models.registry import models as models
from archaeology.models.resnet50 import resnet50 as resnet50
from archaeology.models.router import Routing as Routing
from archaeology.models.router import load_balancing_loss as load_balancing_loss
from archaeology.models.self_distillation import SelfDistillation as SelfDistillation
from archaeology.models.swin import Swin as Swin
from archaeology.models.unet import UNet as UNet
from archaeology.models.vit import ViT as ViT
