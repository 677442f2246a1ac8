"""A training in little memory: `python oom.py FOLDER`; the address space is bounded once everything is loaded."""

import resource
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import torch

spec = spec_from_file_location("diagnosed_folders", Path(__file__).with_name("folders.py"))
assert spec and spec.loader
folders = module_from_spec(spec)
spec.loader.exec_module(folders)

torch.set_num_threads(1)
SPARE = 150_000_000


def bound() -> None:
    """Allow little more than is taken already."""
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + SPARE, taken + SPARE))


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folders.trained(folder / "fits", count=64, epochs=1)  # loads what a training needs
    bound()
    folders.trained(folder / "breaks", count=4096, epochs=1, batch_size=4096)
