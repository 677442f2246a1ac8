"""Two ways to the same result, timed in turn in one process: ours, theirs, ours, theirs, and the medians compared."""

import argparse
import gc
import json
import os
import statistics as averages
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

import torch

from archaeology.core.memory import RETURNING

Clock = Callable[[], float]
CLOCKS: dict[str, Clock] = {"wall": time.perf_counter, "cpu": time.process_time}
OUTPUT = Path("build") / "bench"


@dataclass(frozen=True)
class Comparison:
    """One line of the table.

    Attributes:
        case: What was done.
        peer: Who did it the other way.
        peer_version: Which version of it.
        ours: What we took.
        theirs: What they took.
        unit: Of both.
        ratio: How many times better ours is: theirs / ours.
        target: The least ratio promised; None for a line that only informs.
        holds: Whether the promise is kept; None without one.
    """

    case: str
    peer: str
    peer_version: str
    ours: float
    theirs: float
    unit: str
    ratio: float
    target: float | None
    holds: bool | None


def comparison(
    case: str, peer: str, *, ours: float, theirs: float, unit: str, target: float | None
) -> Comparison:
    """A line of the table; `peer` is a package whose version is looked up, or "torch" for plain code."""
    ratio = theirs / ours
    return Comparison(
        case=case,
        peer=peer,
        peer_version=metadata.version(peer),
        ours=ours,
        theirs=theirs,
        unit=unit,
        ratio=ratio,
        target=target,
        holds=None if target is None else ratio >= target,
    )


@dataclass(frozen=True)
class Setting:
    """How a benchmark is run: the same for both sides, and printed."""

    threads: int
    rounds: int | None
    clock: str
    small: bool
    measure: str | None


def setting(description: str | None, *, threads: int = 2, clock: str = "wall") -> Setting:
    """Read the command line, where these are the defaults, and fix the number of threads."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument(
        "--threads", type=int, default=threads, help="threads of PyTorch, for both sides (%(default)s)"
    )
    parser.add_argument(
        "--rounds", type=int, default=None, help="how often each side runs; medians are compared"
    )
    parser.add_argument(
        "--clock", choices=sorted(CLOCKS), default=clock, help="cpu is fairer on a busy machine"
    )
    parser.add_argument(
        "--small", action="store_true", help="tiny sizes, to see that it runs; ratios mean nothing"
    )
    parser.add_argument("--measure", default=None, help=argparse.SUPPRESS)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    torch.manual_seed(0)
    return Setting(**vars(given))


def seconds(
    given: Setting, *sides: Callable[[], object], rounds: int, warm_up: bool = True
) -> tuple[float, ...]:
    """Median seconds of every side, run in turn after one warm-up each."""
    clock = CLOCKS[given.clock]
    taken: list[list[float]] = [[] for _ in sides]
    for side in sides if warm_up else ():
        side()
    for _ in range(given.rounds or rounds):
        for side, times in zip(sides, taken, strict=True):
            gc.collect()
            start = clock()
            side()
            times.append(clock() - start)
    return tuple(averages.median(times) for times in taken)


def in_child(module: str, given: Setting, measure: str) -> float:
    """A number that a fresh process of `module` prints last when asked to `measure` something.

    Large blocks go back to the system as soon as they are freed there, so that what one step leaves in the
    allocator does not hide what the next one needs; the same for both sides.
    """
    command = [sys.executable, "-m", module, "--measure", measure, "--threads", str(given.threads)]
    done = subprocess.run(
        command + (["--small"] if given.small else []),
        env=os.environ | RETURNING,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr}")
    return float(done.stdout.split()[-1])


def report(name: str, given: Setting, comparisons: list[Comparison]) -> None:
    """Print the table and write `build/bench/NAME.json`."""
    print(f"{name}: {given.threads} threads, {given.clock} time, medians, both sides in turn in one process")
    width = max(len(line.case) for line in comparisons)
    for line in comparisons:
        verdict = (
            ""
            if line.target is None
            else f"  target {line.target:.2f}  {'holds' if line.holds else 'MISSED'}"
        )
        print(
            f"  {line.case:<{width}}  ours {line.ours:10.3f}  {line.peer} {line.peer_version} {line.theirs:10.3f} "
            f"{line.unit}  ratio {line.ratio:6.2f}{verdict}"
        )
    write(name, comparisons)


def write(name: str, comparisons: list[Comparison]) -> None:
    """Write `build/bench/NAME.json` and say so."""
    OUTPUT.mkdir(parents=True, exist_ok=True)
    path = OUTPUT / f"{name}.json"
    path.write_text(json.dumps([asdict(line) for line in comparisons], indent=2) + "\n")
    print(f"  written to {path}", flush=True)
