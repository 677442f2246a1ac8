"""Look at the installation itself; every finding says how to mend it.

It imports nothing heavy before it has asked whether that can be imported, so that it also speaks on a broken machine.
"""

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from typing import Literal

from archaeology.core.storage import cache_folder

Verdict = Literal["good", "note", "bad"]
NEEDED = (
    "torch",
    "torchvision",
    "timm",
    "numpy",
    "pyarrow",
    "zarr",
    "safetensors",
    "matplotlib",
    "jinja2",
    "scipy",
)
EXTRAS = {
    "transformers": "hub",
    "open_clip": "hub",
    "datasets": "hub",
    "tensorboard": "track",
    "wandb": "track",
    "mlflow": "track",
    "trackio": "track",
}
PROJECTS = {
    "open_clip": "open_clip_torch",
    "mlflow": "mlflow-skinny",
}  # where packages are sold under other names
MEND_TORCH = (
    "torch and torchvision must come as a pair (torch >= 2.15 with torchvision >= 0.29): "
    "pip install --upgrade --force-reinstall 'torch>=2.15' 'torchvision>=0.29'"
)


@dataclass(frozen=True)
class Finding:
    """One thing looked at: good, worth a note, or bad with its remedy."""

    what: str
    verdict: Verdict
    text: str
    remedy: str = ""


def guarded(check: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    """The findings of a check; one that breaks is itself a finding."""
    try:
        yield from check()
    except Exception as error:  # whatever is broken here, the doctor goes on to the next check
        yield Finding(check.__name__.replace("_", " "), "bad", f"{type(error).__name__}: {error}")


def python_version() -> Iterator[Finding]:
    """Python itself."""
    version = ".".join(map(str, sys.version_info[:3]))
    is_new = sys.version_info >= (3, 11)
    yield Finding(
        "python", "good" if is_new else "bad", version, "" if is_new else "install Python 3.11 or newer"
    )


def needed_packages() -> Iterator[Finding]:
    """Every package that must be there, imported in a process of its own so that a crash does not end the doctor."""
    for package in NEEDED:
        done = subprocess.run(
            [sys.executable, "-c", f"import {package}"], capture_output=True, text=True, check=False
        )
        if done.returncode == 0:
            yield Finding(package, "good", metadata.version(package))
            continue
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        is_torch = package in ("torch", "torchvision", "timm")
        remedy = MEND_TORCH if is_torch else f"pip install --force-reinstall {package}"
        yield Finding(package, "bad", f"cannot be imported ({last})", remedy)


def optional_packages() -> Iterator[Finding]:
    """What only some commands need."""
    for package, extra in EXTRAS.items():
        try:
            yield Finding(package, "good", metadata.version(PROJECTS.get(package, package)))
        except metadata.PackageNotFoundError:
            remedy = f"only if you need it: pip install 'attention-archaeology[{extra}]'"
            yield Finding(package, "note", "not installed", remedy)


def compute() -> Iterator[Finding]:
    """Device, precision and threads."""
    import torch

    from archaeology.core.device import choose_device, has_fast_bf16

    device = choose_device("auto")
    precision = "fast bfloat16" if has_fast_bf16(device) else "float32 only"
    yield Finding("device", "good", f"{device.type}, {precision}, {torch.get_num_threads()} CPU threads")


def cache() -> Iterator[Finding]:
    """Where decoded images go."""
    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ".doctor").write_text("can be written")
        (folder / ".doctor").unlink()
    except OSError as error:
        remedy = "set ARCHAEOLOGY_CACHE to a folder that can be written"
        yield Finding("cache", "bad", f"{folder} cannot be written ({error})", remedy)
        return
    free = shutil.disk_usage(folder).free / 1e9
    remedy = "set ARCHAEOLOGY_CACHE to a folder on a larger disk" if free < 2 else ""
    yield Finding("cache", "note" if free < 2 else "good", f"{folder}, {free:.0f} GB free", remedy)


def specimens_and_capture() -> Iterator[Finding]:
    """The bundled specimens load, and their attention can be seen and reproduces them."""
    import torch

    from archaeology.capture.checks import check_capture
    from archaeology.specimens.bundled import bundled_names
    from archaeology.specimens.load import load

    for name in bundled_names():
        specimen = load(f"bundled:{name}", device="cpu")
        images = torch.rand(2, 3, *specimen.image_size, generator=torch.Generator().manual_seed(0))
        if specimen.kind == "transformer":
            check_capture(specimen, images)
            yield Finding(f"bundled:{name}", "good", "loads, and its attention is captured exactly")
        else:
            specimen.predict(images)
            yield Finding(f"bundled:{name}", "good", "loads")


CHECKS: tuple[Callable[[], Iterator[Finding]], ...] = (
    python_version,
    needed_packages,
    optional_packages,
    compute,
    cache,
    specimens_and_capture,
)


def installation() -> list[Finding]:
    """What every check found."""
    return [finding for check in CHECKS for finding in guarded(check)]
