"""The attack of Carlini and Wagner: trade the length of a change against the lead of the right class, at the best rate.

It minimises |change|^2 + constant * max(lead of the label + confidence, 0) with Adam over w, where the image is
(tanh(w) + 1) / 2 and so always in [0, 1]. A large constant gives a wrong answer far away, a small one no wrong answer
at all; the smallest that still works is searched for.

Source: `carlini2017towards`. Differs: every image has a search, an Adam and a step count of its own. It gives up a
search that makes no more progress, begins the next at once, and leaves the batch after its last. The first constant
and the learning rate fit each image: they are what a model that is linear around it would need, instead of 0.001 and
0.01 for all. So fewer searches are needed, and where the boundary is near, steps do not jump over it.
"""

from dataclasses import dataclass, fields

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from archaeology.attacks.climb import check_counts
from archaeology.attacks.method import Aim, attack
from archaeology.attacks.nearest import Nearest, check_above_zero, enough
from archaeology.attacks.norms import TINY, PerImage, each, lengths
from archaeology.attacks.victim import Answer, Victim
from archaeology.core.shapes import Image, Label

INSIDE = 0.999999  # black and white are moved inside by this, because their w would be infinite
SHARE = 0.15  # of the way to the boundary of a linear model, that the first step goes
FACTOR = 4.0  # the constant's, while no search or every search of an image has worked
CHECKS = 10  # times per search that progress is asked for, if there are steps enough
PATIENCE = 5  # steps between two times, at least
PROGRESS = 1e-4  # share of the loss that must have gone since the last time
DECAYS = (0.9, 0.999)  # of Adam's means


@attack("carlini_wagner", title="Carlini-Wagner", norms=("l2",), bounded=False)
def carlini_wagner(
    victim: Victim,
    aim: Aim,
    *,
    steps: int = 50,
    searches: int = 3,
    learning_rate: float | None = None,
    confidence: float = 0.0,
    constant: float | None = None,
) -> Image:
    """The nearest wrong image found; the image itself where none was.

    Args:
        victim: The model.
        aim: What to break.
        steps: Of each search at most, at least 1; progress is asked for ten times, or every 5 steps.
        searches: Constants tried for each image, at least 1.
        learning_rate: Adam's, above 0, in units of w; an image changes by at most about half of it per step. None for
            each image's own.
        confidence: By how much another logit must lead that of the label, at least 0.
        constant: The first one, above 0; None for each image's own.

    Raises:
        ValueError: If a number is out of its range.

    References:
        `carlini2017towards`. Differs: see the module.
    """
    given = {"learning_rate": learning_rate, "constant": constant}
    check_counts(steps=steps, searches=searches)
    check_above_zero(**{name: value for name, value in given.items() if value is not None})
    if not 0 <= confidence < float("inf"):
        raise ValueError(f"confidence must be at least 0, a difference of logits, but got {confidence=}.")
    nearest = Nearest(aim)
    state = begin(aim, *linear_guesses(victim, aim, constant, learning_rate))
    while len(state.rows):
        answer = victim.gradient(state.images, state.labels, state.rows, "margin")
        lead = confidence + enough(answer.logits)
        change = state.images - state.original
        wrong = answer.losses > lead
        far = lengths(change)
        nearest.keep(state.rows, state.images, far, wrong)
        state.found |= wrong
        loss = far**2 + state.constant * (lead - answer.losses).clamp(min=0)
        state.least = torch.minimum(state.least, loss)
        adam_step(state, slope(state, answer, change, wrong))
        ended = (state.step >= steps) | stalled(state, max(PATIENCE, steps // CHECKS))
        if ended.any():
            next_search(state, ended)
            state = state.only((state.searched < searches).nonzero()[:, 0])
    return nearest.images


@dataclass(eq=False)
class Search:
    """Where the search of each image stands; all fields are per image.

    Attributes:
        rows: Which of all images it is.
        original: The image.
        labels: Its class.
        start: w of the image.
        w: Of the image as changed so far.
        mean: Adam's, of the slope.
        square: Adam's, of the slope's square.
        step: Of this search.
        rate: Adam's.
        constant: Of this search.
        low: The largest constant that did not work; 0 if there is none.
        high: The smallest that did; infinite if there is none.
        searched: Searches ended.
        found: Whether this search has worked.
        least: The least loss of this search.
        checked: What it was when progress was last asked for.
    """

    rows: Int[Tensor, " batch"]
    original: Image
    labels: Label
    start: Image
    w: Image
    mean: Image
    square: Image
    step: Int[Tensor, " batch"]
    rate: Float[Tensor, " batch"]
    constant: Float[Tensor, " batch"]
    low: Float[Tensor, " batch"]
    high: Float[Tensor, " batch"]
    searched: Int[Tensor, " batch"]
    found: Bool[Tensor, " batch"]
    least: Float[Tensor, " batch"]
    checked: Float[Tensor, " batch"]

    @property
    def images(self) -> Image:
        """As changed so far."""
        return (self.w.tanh() + 1) / 2

    def only(self, chosen: Int[Tensor, " other"]) -> "Search":
        """The searches of these images alone."""
        if len(chosen) == len(self.rows):
            return self
        return Search(**{field.name: getattr(self, field.name)[chosen] for field in fields(self)})


def begin(aim: Aim, constant: PerImage, rate: PerImage) -> Search:
    """The first search of every image."""
    start = torch.atanh((2 * aim.images - 1) * INSIDE)
    endless = torch.full_like(constant, torch.inf)
    none = torch.zeros_like(aim.rows)
    return Search(
        rows=aim.rows,
        original=aim.images,
        labels=aim.labels,
        start=start,
        w=start.clone(),
        mean=torch.zeros_like(start),
        square=torch.zeros_like(start),
        step=none.clone(),
        rate=rate,
        constant=constant,
        low=torch.zeros_like(endless),
        high=endless.clone(),
        searched=none.clone(),
        found=none > 0,
        least=endless.clone(),
        checked=endless.clone(),
    )


def linear_guesses(
    victim: Victim, aim: Aim, constant: float | None, rate: float | None
) -> tuple[PerImage, PerImage]:
    """First constants and learning rates; those not given suit a lead m that changes along its gradient g alone.

    There the boundary is |m| / |g| away, and at the least loss 2 * change = constant * g, so the constant is
    2 |m| / |g|^2. Adam's first step changes every w by its rate; it is to go a share of that way.
    """
    whole = aim.images.new_ones(len(aim))
    if constant is not None and rate is not None:
        return constant * whole, rate * whole
    answer = victim.gradient(aim.images, aim.labels, aim.rows, "margin")
    steep = lengths(answer.gradient).clamp(min=TINY)
    far = answer.losses.abs() / steep
    constants = (2 * far / steep).clamp(1e-10, 1e10) if constant is None else constant * whole
    per_rate = lengths(2 * aim.images * (1 - aim.images)).clamp(min=TINY)
    rates = (SHARE * far / per_rate).clamp(1e-5, 0.1) if rate is None else rate * whole
    return constants, rates


def slope(state: Search, answer: Answer, change: Image, wrong: Bool[Tensor, " batch"]) -> Image:
    """Of the loss with respect to w: where the model is wrong by enough, only the distance counts."""
    of_image = 2 * change - each(state.constant * ~wrong) * answer.gradient
    images = state.original + change
    return of_image * 2 * images * (1 - images)  # (1 - tanh(w)^2) / 2


def adam_step(state: Search, slope: Image) -> None:
    """One step of Adam, whose means are corrected by each image's own number of steps."""
    first, second = DECAYS
    state.step += 1
    state.mean.mul_(first).add_(slope, alpha=1 - first)
    state.square.mul_(second).addcmul_(slope, slope, value=1 - second)
    mean = state.mean / each(1 - first ** state.step.to(slope.dtype))
    square = state.square / each(1 - second ** state.step.to(slope.dtype))
    state.w -= each(state.rate) * mean / (square.sqrt() + 1e-8)


def stalled(state: Search, every: int) -> Bool[Tensor, " batch"]:
    """Whose loss has not gone down since the last time this was asked, once in every so many steps."""
    asked = state.step % every == 0
    stuck = asked & (state.least > (1 - PROGRESS) * state.checked)
    state.checked = torch.where(asked, state.least, state.checked)
    return stuck


def next_search(state: Search, ended: Bool[Tensor, " batch"]) -> None:
    """Choose the next constant where a search has ended, and begin from the image again.

    Between one that worked and one that did not, their geometric mean; else FACTOR times more or less.
    """
    worked = ended & state.found
    state.high = torch.where(worked, state.constant, state.high)
    state.low = torch.where(ended & ~state.found, state.constant, state.low)
    low = torch.where(state.low > 0, state.low, state.high / FACTOR**2)
    high = torch.where(state.high.isinf(), low * FACTOR**2, state.high)
    state.constant = torch.where(ended, (low * high).sqrt(), state.constant)
    state.w[ended] = state.start[ended]
    for blank in (state.mean, state.square, state.step, state.found):
        blank[ended] = 0
    for endless in (state.least, state.checked):
        endless[ended] = torch.inf
    state.searched += ended
