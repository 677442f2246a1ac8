"""Every mechanism against the package people use for it today, forward and backward: all parts of the zoo in one run.

Parts: `attention_sparse` (windows, Longformer, BigBird, kernels), `attention_linear` (FAVOR+, hashing, Linformer),
`attention_weighting` (sparsemax, entmax, Swin), `attention_decoding` (latent attention, caches, experts). Each runs
alone too. Freed memory is kept (`tune_allocation`), for both sides alike: else a third of the time is page faults, more
for whoever allocates more.
"""

from archaeology.core.allocation import tune_allocation
from benchmarks import attention_decoding, attention_linear, attention_sparse, attention_weighting
from benchmarks._side_by_side import Comparison, report, setting, write

PARTS = (attention_sparse, attention_linear, attention_weighting, attention_decoding)


def main() -> None:
    given = setting(__doc__)
    tune_allocation()
    lines: list[Comparison] = []
    for part in PARTS:
        measured = part.comparisons(given)
        report(part.__name__.rpartition(".")[2], given, measured)
        lines += measured
        write("attention", lines)  # after every part, so that what was measured is kept


if __name__ == "__main__":
    main()
