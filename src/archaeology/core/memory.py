"""How much memory a piece of work needs at once, and how much there is, as the Linux kernel counts it."""

import gc
from collections.abc import Callable
from pathlib import Path

STATUS, HIGH_WATER, SYSTEM = Path("/proc/self/status"), Path("/proc/self/clear_refs"), Path("/proc/meminfo")
RESET_HIGH_WATER = "5"
# Surroundings in which glibc returns every block above 128 KiB as soon as it is freed.
RETURNING = {"MALLOC_MMAP_THRESHOLD_": "131072", "MALLOC_TRIM_THRESHOLD_": "131072"}


def can_measure_memory() -> bool:
    """Whether the kernel keeps a high-water mark that can be set back; Linux does."""
    return STATUS.exists() and HIGH_WATER.exists()


def peak_mebibytes(run: Callable[[], object]) -> float:
    """How far resident memory rises above its level at the start while `run` runs; Linux only.

    The kernel's own high-water mark is set back first, so nothing between two samples is missed. What the allocator
    kept from earlier work hides need: measure in a fresh process, with `RETURNING` in its surroundings.
    """
    gc.collect()
    start = _kibibytes(STATUS, "VmRSS")
    HIGH_WATER.write_text(RESET_HIGH_WATER)
    run()
    return (_kibibytes(STATUS, "VmHWM") - start) / 1024


def available_mebibytes() -> float | None:
    """Memory that can be had without pushing anything out; None where nobody says."""
    return _kibibytes(SYSTEM, "MemAvailable") / 1024 if SYSTEM.exists() else None


def check_room(num_bytes: int, what: str, remedy: str) -> None:
    """Raise unless so much fits into memory, before anything is begun that the system would kill.

    Args:
        num_bytes: Held at once.
        what: Will be held, as the subject of a sentence.
        remedy: What to do.

    Raises:
        ValueError: If there is less, as far as somebody says how much there is.
    """
    room, need = available_mebibytes(), num_bytes / 2**20
    if room is not None and need > room:
        raise ValueError(
            f"{what} must fit into memory, but would take {need / 1024:,.1f} GiB, and {room / 1024:,.1f} GiB are free; "
            f"{remedy}."
        )


def _kibibytes(path: Path, field: str) -> int:
    return next(int(line.split()[1]) for line in path.read_text().splitlines() if line.startswith(field))
