"""Peak memory of a survey of specialization after 1,000 and after 10,000 images, and a survey that is killed halfway.

Run as `python -m benchmarks.survey_memory --data parquet:FOLDER`. Memory is the kernel's high-water mark of a fresh
process above its level after loading the model, the pixels' map and a first pass; the second survey is killed by a
signal and taken up again, and must end with the same numbers, bit for bit.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from archaeology.core.memory import RETURNING, peak_mebibytes
from archaeology.data.cache import decode_once
from archaeology.data.open import open_source
from archaeology.dig.parts import Parts
from archaeology.dig.survey import Images, specialization
from archaeology.specimens.load import load
from archaeology.stats.specialization import HeadSpecialization

CHUNK = 250


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True, help="such as parquet:FOLDER")
    parser.add_argument("--split", default="test")
    parser.add_argument("--model", default="bundled:vit_cifar10")
    parser.add_argument("--images", type=int, nargs="+", default=[1000, 10000])
    parser.add_argument("--killed", type=int, default=2000, help="images of the survey that is killed")
    parser.add_argument("--parts", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.parts is not None:
        survey(given, given.parts, given.images[0])
        return
    with tempfile.TemporaryDirectory() as folder:
        for count in given.images:
            print(f"{count:6} images: {in_child(given, Path(folder) / str(count), count)}", flush=True)
        whole, cut = Path(folder) / "whole", Path(folder) / "cut"
        in_child(given, whole, given.killed)
        print(
            f"{given.killed:6} images, killed: {killed(given, cut)} of {given.killed // CHUNK} parts were finished"
        )
        in_child(given, cut, given.killed)
        same = (whole / "sums.npy").read_bytes() == (cut / "sums.npy").read_bytes()
        print(f"taken up again: {'the same, bit for bit' if same else 'DIFFERENT'}")
        sys.exit(not same)


def command(given: argparse.Namespace, parts: Path, count: int) -> list[str]:
    arguments = ["--data", given.data, "--split", given.split, "--model", given.model]
    return [
        *(sys.executable, "-m", "benchmarks.survey_memory", *arguments),
        *("--images", str(count), "--parts", str(parts)),
    ]


def in_child(given: argparse.Namespace, parts: Path, count: int) -> str:
    done = subprocess.run(
        command(given, parts, count), env=os.environ | RETURNING, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise RuntimeError(f"the survey failed:\n{done.stderr}")
    return done.stdout.strip().splitlines()[-1]


def killed(given: argparse.Namespace, parts: Path) -> int:
    """Kill a survey once it has finished half of its parts; how many it had."""
    child = subprocess.Popen(
        command(given, parts, given.killed), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    while child.poll() is None and len(list(parts.rglob("*.npz"))) < given.killed // CHUNK // 2:
        time.sleep(0.05)
    child.send_signal(signal.SIGKILL)
    child.wait()
    return len(list(parts.rglob("*.npz")))


def survey(given: argparse.Namespace, folder: Path, count: int) -> None:
    """One survey in this process, in parts; prints what it took and leaves its sums beside the parts."""
    specimen = load(given.model)
    decoded = decode_once(open_source(given.data, split=given.split), specimen.image_size)
    images = Images.of(decoded, CHUNK)
    specialization(specimen, "warm up", images.only(range(10)), Parts(folder / "warm up"), seed=0)
    chosen = images.only(range(count))
    found = []
    started = time.perf_counter()
    parts = Parts(folder / "parts")
    peak = peak_mebibytes(lambda: found.append(specialization(specimen, "bench", chosen, parts, seed=0)))
    seconds = time.perf_counter() - started
    sums = found[0]
    np.save(
        folder / "sums.npy", np.concatenate([np.ravel(sums.figures.mean), np.ravel(sums.figures.deviation)])
    )
    labels = [label.label for label in HeadSpecialization(sums).labels()]
    counted = ", ".join(f"{labels.count(name)} {name}" for name in sorted(set(labels)))
    print(f"peak {peak:.1f} MiB above its start, {seconds:.1f} s, {len(labels)} heads: {counted}")


if __name__ == "__main__":
    main()
