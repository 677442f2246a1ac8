"""Which kernel is fastest for a problem; all give the same answer."""

from archaeology.attention.kernels.problem import Problem

MATMUL_LIMIT = 4096  # keys above which writing the pattern down costs more than it saves


def choose(problem: Problem) -> str:
    """The name of the kernel to use.

    In bfloat16 training on a CPU, plain products beat PyTorch's fused kernel, whose backward pass is slow there;
    everywhere else the fused kernel is as fast and needs less memory.
    """
    is_cpu, is_half = problem.query.device.type == "cpu", problem.query.element_size() == 2
    if is_cpu and is_half and problem.needs_gradient and problem.key.shape[2] <= MATMUL_LIMIT:
        return "matmul"
    return "fused"
