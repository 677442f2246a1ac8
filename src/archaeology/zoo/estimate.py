"""How long a measurement will take, from one quick run of each mechanism at two short lengths."""

import time
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from archaeology.zoo.config import ZooConfig
from archaeology.zoo.errors import comparable, lengths_for_errors
from archaeology.zoo.forecast import Skip, duration, expected, too_costly
from archaeology.zoo.inputs import KINDS
from archaeology.zoo.run import chosen
from archaeology.zoo.subject import DENSE, STEPS, subject

PROBES = (512, 1024)  # tokens
EXACT_IN_FLOAT64 = 3.0  # times dense attention's own forward pass
START_CHILD = 5.0  # seconds


@dataclass(frozen=True)
class Estimate:
    """What a measurement will take.

    Attributes:
        seconds: Of all that is not skipped, if nothing was measured before.
        skips: What will probably be left out, and why.
    """

    seconds: float
    skips: list[Skip]

    def text(self) -> str:
        """For people."""
        left_out = "".join(
            f"\n  without {skip.mechanism} from {skip.length:,} tokens: {skip.reason}" for skip in self.skips
        )
        return f"about {duration(self.seconds)}{left_out}\n"


def estimate(config: ZooConfig) -> Estimate:
    """Run each mechanism twice at short lengths, and go on from there.

    Raises:
        UnknownNameError: If a mechanism is unknown.
    """
    names = chosen(config)
    before = torch.get_num_threads()
    torch.set_num_threads(config.threads)
    try:
        known = {name: probed(name, config) for name in names}
    finally:
        torch.set_num_threads(before)
    return estimated(known, config)


def probed(name: str, config: ZooConfig) -> dict[str, dict[int, float]]:
    """Seconds of each step at the lengths of `PROBES`, or at the shortest where those are too long."""
    lengths = [length for length in PROBES if length <= config.lengths[-1]] or [config.lengths[0]]
    taken: dict[str, dict[int, float]] = {step: {} for step in STEPS}
    for length in lengths:
        try:
            made = subject(name, length, config)
        except ValueError:
            continue  # the measurement itself will say so
        for step in STEPS:
            made.run(step)()
            start = time.perf_counter()
            made.run(step)()
            taken[step][length] = time.perf_counter() - start
    return taken


def estimated(known: Mapping[str, dict[str, dict[int, float]]], config: ZooConfig) -> Estimate:
    """The sum over all that `config` asks for, from seconds by mechanism, step and length."""
    total, skips = START_CHILD, []
    inputs = len(KINDS) * len(config.score_stds) * config.draws
    with_errors = {*comparable(list(known))}
    for length in config.lengths:
        for name, steps in known.items():
            forward, both = (_at(steps[step], length) for step in STEPS)
            reason = too_costly(both, None, patience=config.patience, available=None)
            if reason is not None:
                skips += [] if any(skip.mechanism == name for skip in skips) else [Skip(name, length, reason)]
                continue
            total += (config.rounds + 2) * (forward + both)  # once more to warm up, and once for its memory
            if name in with_errors and length in lengths_for_errors(config):
                total += inputs * forward * (1 + EXACT_IN_FLOAT64 * (name == DENSE))
    return Estimate(total, skips)


def _at(known: dict[int, float], length: int) -> float:
    """Seconds at `length`; below the shortest known, as there."""
    if not known:
        return 0.0
    return expected(known, length) or known[min(known)]
