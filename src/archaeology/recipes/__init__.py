"""Experiments: a model, its data, how to train it, and the result it promises; those on one world share a file."""

from archaeology.recipes.convnet_cifar10 import convnet_cifar10 as convnet_cifar10
from archaeology.recipes.convnet_cifar10_robust import convnet_cifar10_robust as convnet_cifar10_robust
from archaeology.recipes.convnet_cue_conflict import convnet_cue_conflict as convnet_cue_conflict
from archaeology.recipes.image_text_cue_conflict import image_text_cue_conflict as image_text_cue_conflict
from archaeology.recipes.image_text_shapes2d import image_text_shapes2d as image_text_shapes2d
from archaeology.recipes.recipe import Promise as Promise
from archaeology.recipes.recipe import Recipe as Recipe
from archaeology.recipes.recipe import SelfSupervisedRecipe as SelfSupervisedRecipe
from archaeology.recipes.recipe import StreamRecipe as StreamRecipe
from archaeology.recipes.recipe import recipes as recipes
from archaeology.recipes.resnet50 import resnet50_food101 as resnet50_food101
from archaeology.recipes.reverse_sequence import reverse_sequence as reverse_sequence
from archaeology.recipes.run import run_recipe as run_recipe
from archaeology.recipes.shapes1d_mechanisms import shapes1d_mechanism_linear as shapes1d_mechanism_linear
from archaeology.recipes.shapes1d_models import shapes1d_attention as shapes1d_attention
from archaeology.recipes.shapes1d_positions import shapes1d_positions_none as shapes1d_positions_none
from archaeology.recipes.shapes2d_models import shapes2d_encoder_decoder as shapes2d_encoder_decoder
from archaeology.recipes.shapes2d_positions import shapes2d_positions_none as shapes2d_positions_none
from archaeology.recipes.stream import load_trained as load_trained
from archaeology.recipes.swin_cifar10 import swin_cifar10 as swin_cifar10
from archaeology.recipes.vit_base import vit_base_food101 as vit_base_food101
from archaeology.recipes.vit_cifar10 import vit_cifar10 as vit_cifar10
from archaeology.recipes.vit_cifar10_distilled import vit_cifar10_distilled as vit_cifar10_distilled
from archaeology.recipes.vit_cifar10_distilled import vit_cifar10_distilled_hard as vit_cifar10_distilled_hard
from archaeology.recipes.vit_cifar10_robust import vit_cifar10_robust as vit_cifar10_robust
from archaeology.recipes.vit_cifar10_unlabelled import vit_cifar10_masked as vit_cifar10_masked
from archaeology.recipes.vit_cifar10_unlabelled import (
    vit_cifar10_self_distilled as vit_cifar10_self_distilled,
)
from archaeology.recipes.vit_cue_conflict import vit_cue_conflict as vit_cue_conflict
from archaeology.recipes.vit_tiny_imagenet20 import vit_tiny_imagenet20 as vit_tiny_imagenet20
