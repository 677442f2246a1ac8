"""Peak memory of a forward pass: on a GPU, what PyTorch's allocator says; on a CPU, from a process of its own.

On a CPU it is how far the resident set rises above its level with weights and images in place, by the kernel's own
high-water mark, in a fresh process whose allocator gives everything back, after a pass that loads code. Scratch space
of the libraries counts, weights and images do not.
"""

import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass

import torch

from archaeology.core.memory import RETURNING
from archaeology.profiling.config import ProfileConfig
from archaeology.profiling.subject import Subject, forward, normalised_images
from archaeology.specimens.specimen import Specimen

LEAST_WAIT = 300.0  # seconds, in which also the child must start


@dataclass(frozen=True)
class Peak:
    """What a batch needs.

    Attributes:
        batch: Images.
        mebibytes: Beyond weights and images; None where it was not tried.
        reason: Why it was not; "" where it was.
    """

    batch: int
    mebibytes: float | None
    reason: str = ""


def peaks_in_child(subject: Subject, batches: list[int], config: ProfileConfig) -> list[Peak]:
    """One for each of `batches`, from a process of its own that is asked about nothing else."""
    question = {"subject": asdict(subject), "batches": batches, "config": config.model_dump(mode="json")}
    end = "did not answer in time"
    try:
        done = subprocess.run(
            [sys.executable, "-m", "archaeology.profiling.memory_child"],
            env=os.environ | RETURNING,
            input=json.dumps(question),
            stdout=subprocess.PIPE,
            text=True,
            timeout=LEAST_WAIT + 4 * config.patience * (1 + len(batches)),
            check=False,
        )
        said, end = done.stdout, f"ended with code {done.returncode}"
    except subprocess.TimeoutExpired as error:
        said = (error.stdout or b"").decode() if isinstance(error.stdout, bytes) else error.stdout or ""
    found = {answer["batch"]: Peak(**answer) for answer in map(json.loads, said.splitlines())}
    lost = f"the process that measures memory {end}; probably there was too little memory, so choose smaller batches"
    return [found.get(batch) or Peak(batch, None, lost) for batch in batches]


def cuda_peak(specimen: Specimen, batch: int, seed: int) -> Peak:
    """By the allocator's own counter; a GPU that is full gives the reason."""
    try:
        images = normalised_images(specimen, batch, seed)
        forward(specimen.model, images)  # libraries fetch their workspaces
        before = torch.cuda.memory_allocated(specimen.device)
        torch.cuda.reset_peak_memory_stats(specimen.device)
        forward(specimen.model, images)
        return Peak(batch, (torch.cuda.max_memory_allocated(specimen.device) - before) / 2**20)
    except torch.OutOfMemoryError:
        torch.cuda.empty_cache()
        free, total = (size / 2**30 for size in torch.cuda.mem_get_info(specimen.device))
        return Peak(
            batch,
            None,
            f"a batch of {batch:,} does not fit into the GPU's memory ({free:.1f} of {total:.1f} GiB are free); choose "
            "smaller --batch-sizes",
        )
