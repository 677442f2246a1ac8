"""PGD that may change only coarse, middle or fine patterns: which of them a model's answers hang on.

After each step the change is brought into the band, then into epsilon and [0, 1], several times in turn. The last to
be asked is the bound, which must hold exactly, and cutting values off puts a little of the change outside the band:
`bands.share_outside` says how much. In the "l2" norm only pixels that would leave [0, 1] are cut, so it is less.
"""

from archaeology.attacks.bands import part_in_band
from archaeology.attacks.climb import Climb, check_counts, check_share
from archaeology.attacks.method import Aim, attack
from archaeology.attacks.norms import PerImage, each, project, random_start, steepest
from archaeology.attacks.victim import Victim
from archaeology.core.shapes import Image


@attack("banded_pgd", title="PGD in a band", norms=("linf", "l2"))
def banded_pgd(
    victim: Victim,
    aim: Aim,
    *,
    band: str = "low",
    steps: int = 20,
    step_size: float | None = None,
    loss: str = "cross_entropy",
    rounds: int = 3,
) -> Image:
    """The images where the model is wrong, or the last ones tried where it never was.

    Args:
        victim: The model.
        aim: What to break.
        band: Of `BANDS`: "low", "middle" or "high".
        steps: Gradients, at least 1.
        step_size: As a share of epsilon; None for 2.5 / steps.
        loss: Of `LOSSES`.
        rounds: Times that a change is brought into the band and then into its bounds, after each step; more leave less
            of it outside the band.

    Raises:
        ValueError: If a number is out of its range.
        UnknownNameError: If there is no such band or loss.

    References:
        `madry2018towards`. Differs: the ball is cut by a band of the Fourier plane.
    """
    check_counts(steps=steps, rounds=rounds)
    check_share(step_size=step_size)
    stride = 2.5 / steps if step_size is None else step_size

    def move(images: Image, gradient: Image, original: Image, epsilon: PerImage) -> Image:
        along = steepest(part_in_band(gradient, band), aim.norm)
        further = images + each(stride * epsilon) * along
        return narrowed(further, original, epsilon, aim.norm, band, rounds)

    start = random_start(aim.normal("start"), aim.images, aim.epsilon, aim.norm)
    start = narrowed(start, aim.images, aim.epsilon, aim.norm, band, rounds)
    climb = Climb(victim, aim, aim.images.clone(), steps, move)
    climb.run(start, aim.rows, loss)
    return climb.found


def narrowed(images: Image, original: Image, epsilon: PerImage, norm: str, band: str, rounds: int) -> Image:
    """Images whose change lies within epsilon and [0, 1], and about in the band."""
    for _ in range(rounds):
        images = project(original + part_in_band(images - original, band), original, epsilon, norm)
    return images
