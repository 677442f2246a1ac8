"""How attention is computed: several kernels, one answer; `choose` picks by structure, device, dtype and gradient."""

from archaeology.attention.kernels.band import band as band
from archaeology.attention.kernels.blocks import blocks as blocks
from archaeology.attention.kernels.choose import choose as choose
from archaeology.attention.kernels.flex import flex as flex
from archaeology.attention.kernels.fused import fused as fused
from archaeology.attention.kernels.matmul import matmul as matmul
from archaeology.attention.kernels.problem import Problem as Problem
from archaeology.attention.kernels.reference import reference as reference
from archaeology.attention.kernels.registry import kernels as kernels
