"""How long a profile will take, from two quick forward passes of each specimen."""

from dataclasses import dataclass

from archaeology.profiling.config import ProfileConfig
from archaeology.profiling.limits import Known, duration, too_much
from archaeology.profiling.run import threads
from archaeology.profiling.subject import CLOCKS, Subject, built, forward, normalised_images, subjects

START_CHILD = 12.0  # seconds, to import the libraries and build the model again
PROBES = 4  # images that the child runs before it measures


@dataclass(frozen=True)
class Estimate:
    """What a profile will take.

    Attributes:
        seconds: Of all that is not skipped, if nothing was measured before.
        skips: What will be left out for its time, and why.
    """

    seconds: float
    skips: tuple[str, ...]

    def text(self) -> str:
        """For people."""
        return (
            "\n".join([f"about {duration(self.seconds)}", *(f"  without {skip}" for skip in self.skips)])
            + "\n"
        )


def estimate(config: ProfileConfig) -> Estimate:
    """Run one image through each specimen, twice, and go on from there.

    Raises:
        UnknownNameError: If a specimen is unknown.
        ValueError: If one cannot be built.
    """
    with threads(config.threads):
        return estimated({subject: _probed(subject, config) for subject in subjects(config)}, config)


def estimated(seconds: dict[Subject, float], config: ProfileConfig) -> Estimate:
    """The sum over all that `config` asks for, from seconds of one image."""
    total, skips = 0.0, []
    for subject, each in seconds.items():
        total += START_CHILD + PROBES * each
        for batch in config.batch_sizes:
            reason = too_much(batch, Known(each), patience=config.patience, available=None)
            if reason is None:
                total += each * batch * (config.rounds + config.warm_up + 1)  # once more for its memory
            else:
                skips.append(f"{subject.key}: {reason}")
    return Estimate(total, tuple(skips))


def _probed(subject: Subject, config: ProfileConfig) -> float:
    specimen = built(subject, config)
    images = normalised_images(specimen, 1, config.seed)
    forward(specimen.model, images)
    start = CLOCKS[config.clock]()
    forward(specimen.model, images)
    return CLOCKS[config.clock]() - start
