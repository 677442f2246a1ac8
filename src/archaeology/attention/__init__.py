"""Attention from first principles: one mechanism per file, on `(batch, head, token, dim)`."""

from archaeology.attention.multi_head import MultiHeadAttention as MultiHeadAttention
from archaeology.attention.positions import POSITIONS as POSITIONS
from archaeology.attention.positions import grid_positions as grid_positions
from archaeology.attention.softmax import attend as attend
