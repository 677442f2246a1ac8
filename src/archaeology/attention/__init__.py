"""Attention from first principles: one mechanism per file, on `(batch, head, token, dim)`."""

from archaeology.attention.masks import band as band
from archaeology.attention.masks import band_of as band_of
from archaeology.attention.masks import causal as causal
from archaeology.attention.masks import global_tokens as global_tokens
from archaeology.attention.masks import padding as padding
from archaeology.attention.mechanism import mechanisms as mechanisms
from archaeology.attention.multi_head import MultiHeadAttention as MultiHeadAttention
from archaeology.attention.positions import POSITIONS as POSITIONS
from archaeology.attention.positions import grid_positions as grid_positions
from archaeology.attention.softmax import Softmax as Softmax
from archaeology.attention.softmax import attend as attend
