"""Attention from first principles: one mechanism per file, on `(batch, head, token, dim)`."""

from archaeology.attention.alibi import Alibi as Alibi
from archaeology.attention.cache import KeyValueCache as KeyValueCache
from archaeology.attention.cache import SlidingCache as SlidingCache
from archaeology.attention.entmax import Entmax15 as Entmax15
from archaeology.attention.latent import LatentAttention as LatentAttention
from archaeology.attention.latent import LatentCache as LatentCache
from archaeology.attention.layers import layers as layers
from archaeology.attention.linear import LinearAttention as LinearAttention
from archaeology.attention.masks import band as band
from archaeology.attention.masks import band_of as band_of
from archaeology.attention.masks import causal as causal
from archaeology.attention.masks import global_tokens as global_tokens
from archaeology.attention.masks import padding as padding
from archaeology.attention.mechanism import mechanisms as mechanisms
from archaeology.attention.multi_head import MultiHeadAttention as MultiHeadAttention
from archaeology.attention.performer import Performer as Performer
from archaeology.attention.position_scheme import position_scheme as position_scheme
from archaeology.attention.positions import POSITIONS as POSITIONS
from archaeology.attention.positions import grid_positions as grid_positions
from archaeology.attention.relative_bias import GridBias as GridBias
from archaeology.attention.relative_bias import RelativeBias as RelativeBias
from archaeology.attention.rotary import AxialRotary as AxialRotary
from archaeology.attention.rotary import Rotary as Rotary
from archaeology.attention.softmax import Softmax as Softmax
from archaeology.attention.softmax import attend as attend
from archaeology.attention.sparsemax import Sparsemax as Sparsemax
