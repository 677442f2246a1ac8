"""Which kernel is fastest for a problem; all give the same answer.

What is compared is how many scores each would compute. Measured on a CPU, a score costs the structured kernels
no more than PyTorch's, but every head costs them some calls, worth `OVERHEAD` scores: below about 250 tokens the
whole matrix is always faster.
"""

import math

from archaeology.attention.kernels.band import block_size, sliding
from archaeology.attention.kernels.blocks import plan_for
from archaeology.attention.kernels.fused import is_plainly_causal
from archaeology.attention.kernels.problem import Problem

FEW_QUERIES, MANY_KEYS = (
    64,
    1024,
)  # what decoding is: writing the pattern down is nothing beside reading the keys
MATMUL_LIMIT = 4096  # keys above which writing the pattern down costs more than it saves
OVERHEAD = 50_000  # scores that could be computed while a structured kernel is called for one head
MARGIN = {"band": 1.1, "blocks": 1.4}  # how much dearer a score of the kernel may be: gathering copies keys


def choose(problem: Problem) -> str:
    """The name of the kernel to use.

    Windows and sparse blocks where the mask leaves little enough to look at. Else, on a CPU, plain products where
    PyTorch's fused kernel is slow: in its backward pass in bfloat16, and in decoding with values that are not as wide
    as keys. Everywhere else the fused kernel is as fast and needs less memory.
    """
    if problem.query.device.type != "cpu":
        return "fused"
    structured = sparse(problem)
    if structured is not None:
        return structured
    is_half, num_keys = problem.query.element_size() == 2, problem.key.shape[2]
    if problem.needs_gradient:
        return "matmul" if is_half and num_keys <= MATMUL_LIMIT else "fused"
    is_decoding = problem.query.shape[2] * problem.group <= FEW_QUERIES and num_keys >= MANY_KEYS
    is_uneven = problem.query.shape[3] != problem.value.shape[3]
    return "matmul" if is_decoding and is_uneven and not is_half else "fused"


def sparse(problem: Problem) -> str | None:
    """The structured kernel that computes few enough scores to be the fastest, if there is one."""
    dense = problem.query.shape[2] * problem.key.shape[2]
    if problem.mask is None or dense <= OVERHEAD or is_plainly_causal(problem):
        return None
    reach = problem.mask.reach()
    if math.isfinite(reach.back) and math.isfinite(reach.ahead):
        layout = sliding(problem, block_size(problem))
        pairs, kernel = layout.num_blocks * layout.block * layout.seen, "band"
    elif not problem.mask.is_lasting:
        return None  # a plan that cannot be remembered costs more than it saves
    else:
        pairs, kernel = plan_for(problem).cost, "blocks"
    return kernel if dense >= MARGIN[kernel] * pairs + OVERHEAD else None
