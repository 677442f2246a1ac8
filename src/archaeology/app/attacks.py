"""An attack on a visitor's image: runs in the worker step by step, tells how far it is, and stops when nobody looks.

What is attacked is the model's own answer, because nobody knows what is right of an uploaded image. Afterwards models
are asked about the image as the attack left it; whether it still fools in 8 bits, as in a file, is told beside.
"""

import asyncio
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from inspect import signature
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import BaseModel, ConfigDict, Field

from archaeology.app.decoding import Picture
from archaeology.app.seeing import batch_of
from archaeology.attacks.checks import answers
from archaeology.attacks.method import attack_images, attacks
from archaeology.attacks.norms import distances
from archaeology.attacks.result import AttackResult
from archaeology.attacks.victim import Asked
from archaeology.capture.record import unit_images
from archaeology.explorer.subject import class_name
from archaeology.specimens.specimen import Specimen

MOST_STEPS = 2000
MOST_EPSILON = 1e6  # the sum of all changes of a framed image is less
MOST_TOLD = 250  # events of one attack; a long one tells every so many steps
ALONE = 10.0  # seconds after which an attack that nobody watches stops
SIDE = 6  # patches of that share of the shorter side, where the model's own do not fit
REPEATS = ("restarts", "searches", "tries", "rounds")


class Wish(BaseModel):
    """What a visitor wants."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    model: str
    attack: str
    norm: str | None = None
    epsilon: float | None = Field(default=None, ge=0, le=MOST_EPSILON, allow_inf_nan=False)
    steps: int = Field(default=20, ge=1, le=MOST_STEPS)
    seed: int = Field(default=0, ge=0, le=2**31)


class StoppedError(Exception):
    """Raised inside an attack that is to stop; the words say why."""


@dataclass(frozen=True, eq=False)
class Attacked:
    """What came of an attack.

    Attributes:
        picture: The attacked image, exact and as it is shown.
        change: What was added to it, in units of images in [0, 1].
    """

    picture: Picture
    change: Float[np.ndarray, "height width channel"]

    @property
    def size(self) -> int:
        """Bytes in memory."""
        return self.picture.size + self.change.nbytes


@dataclass(eq=False)
class Attack:
    """One attack, from the wish to its end.

    Attributes:
        wish: What is wanted.
        picture: What is attacked.
        seconds: That it may run, those that others take in between not counted.
        loop: Where streams live.
        events: Told so far: name and data.
        is_over: Whether no event comes after these.
        stop: Set where it is to end.
        result: What came of it.
        watchers: Streams that are open.
        leave_line: Gives its place up where it still waits for the worker.
        lent: Seconds that it let others have between its steps.
    """

    wish: Wish
    picture: Picture
    seconds: float
    loop: asyncio.AbstractEventLoop
    events: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    is_over: bool = False
    stop: threading.Event = field(default_factory=threading.Event)
    result: Attacked | None = None
    watchers: int = 0
    leave_line: Callable[[], None] = lambda: None
    lent: float = 0.0
    _watched: float = field(default_factory=time.monotonic)
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    def tell(self, name: str, data: dict[str, Any], *, is_last: bool = False) -> None:
        """Add an event, from any thread."""

        def add() -> None:
            self.events.append((name, data))
            self.is_over = self.is_over or is_last
            self._news.set()
            self._news = asyncio.Event()

        try:
            self.loop.call_soon_threadsafe(add)
        except RuntimeError:  # the server has stopped: nobody listens
            self.stop.set()

    @property
    def news(self) -> asyncio.Event:
        """Set with the next event; to be taken before the events are read, or one in between is missed."""
        return self._news

    def halt(self) -> None:
        """Stop it, between two steps or while it waits; from any thread."""
        self.stop.set()
        self.leave_line()

    def check(self, started: float) -> None:
        """Go on, or stop.

        Raises:
            StoppedError: If it was stopped, nobody watches, or it takes too long.
        """
        now = time.monotonic()
        if self.watchers:
            self._watched = now
        if self.stop.is_set():
            raise StoppedError("The attack was stopped.")
        if now - max(self._watched, started) > ALONE:
            raise StoppedError("The attack was stopped, because nobody watched it.")
        if self.taken(started) > self.seconds:
            raise StoppedError(
                f"The attack was stopped after {self.seconds:g} seconds; ask for fewer steps, or start the app with "
                "a longer --seconds."
            )

    def taken(self, started: float) -> float:
        """Seconds since then, but for those that it lent to others."""
        return time.monotonic() - started - self.lent


def parameters_of(wish: Wish) -> dict[str, Any]:
    """The attack's parameters that steps stand for: gradients for some, questions for others, none for one step."""
    repeats = repeats_of(wish.attack)
    return {} if repeats is None else {repeats: wish.steps}


def repeats_of(name: str) -> str | None:
    """What an attack does again and again: "steps" (of gradients) or "queries" (without); None for one step."""
    known = signature(attacks.get(name).draw).parameters
    return next((repeats for repeats in ("steps", "queries") if repeats in known), None)


def side_for(wish: Wish, specimen: Specimen, size: tuple[int, int]) -> dict[str, Any]:
    """A side of patches, for an attack that takes one, where the model's own do not fit into images of this size."""
    known = signature(attacks.get(wish.attack).draw).parameters
    layout = specimen.layout
    fits = layout is None or not (size[0] % layout.rows or size[1] % layout.columns)
    return {} if fits or "side" not in known else {"side": max(1, min(size) // SIDE)}


def most_questions(wish: Wish) -> int:
    """How many questions the attack will ask at most, about."""
    known = signature(attacks.get(wish.attack).draw).parameters
    if not parameters_of(wish):
        return 1
    return wish.steps * math.prod(known[name].default for name in REPEATS if name in known)


def run_attack(attack: Attack, specimen: Specimen, breathe: Callable[[], None]) -> None:
    """Attack, telling events; runs in the worker.

    Args:
        attack: Told, and given its result.
        specimen: The model.
        breathe: Called between two steps, so that others get their turn.
    """
    started = time.monotonic()
    try:
        attack.check(started)
        result = attacked(attack, specimen, breathe, started)
        attack.result = outcome_of(attack, result)
        attack.tell("done", summary(attack, specimen, result, attack.taken(started)), is_last=True)
    except StoppedError as stopped:
        attack.tell("failed", {"error": str(stopped)}, is_last=True)
    except (ValueError, RuntimeError, MemoryError) as error:
        attack.tell("failed", {"error": str(error) or type(error).__name__}, is_last=True)


def attacked(attack: Attack, specimen: Specimen, breathe: Callable[[], None], started: float) -> AttackResult:
    """Run the attack on the model's own answer."""
    wish = attack.wish
    images = unit_images(batch_of([attack.picture], specimen), specimen.device)
    label = answers(specimen, images, 1).argmax(dim=1)
    progress = Progress(attack, specimen, images, int(label), most_questions(wish))

    def watch(asked: Asked) -> None:
        attack.check(started)
        progress.tell(asked)
        lending = time.monotonic()
        breathe()
        attack.lent += time.monotonic() - lending
        attack.check(started)

    epsilon = wish.epsilon if attacks.get(wish.attack).bounded else None
    size = (images.shape[2], images.shape[3])
    parameters = parameters_of(wish) | side_for(wish, specimen, size)
    return attack_images(
        wish.attack,
        specimen,
        images,
        label,
        epsilon=epsilon,
        norm=wish.norm,
        seed=wish.seed,
        watch=watch,
        **parameters,
    )


@dataclass(eq=False)
class Progress:
    """Makes events of questions."""

    attack: Attack
    specimen: Specimen
    images: torch.Tensor
    label: int
    steps: int
    step: int = 0

    def tell(self, asked: Asked) -> None:
        """One question; of many, every so many are told."""
        self.step += 1
        if self.step > 1 and self.step % max(1, self.steps // MOST_TOLD):
            return
        logits = asked.logits[0].float()
        shares = logits.softmax(dim=0)
        norm = self.attack.wish.norm or attacks.get(self.attack.wish.attack).norms[0]
        label = torch.tensor([self.label], device=logits.device)
        self.attack.tell(
            "progress",
            {
                "step": min(self.step, self.steps),
                "steps": self.steps,
                "loss": finite(float(F.cross_entropy(logits[None], label))),
                "prediction": class_name(self.specimen.classes, int(logits.argmax())),
                "probability": finite(float(shares[self.label])),
                "confidence": finite(float(shares.max())),
                "distance": finite(float(distances(asked.images[:1], self.images)[norm][0])),
            },
        )


def outcome_of(attack: Attack, result: AttackResult) -> Attacked:
    """The attacked image as the model was asked about it, and what was added."""
    before, after = (
        one[0].permute(1, 2, 0).contiguous().float().cpu().numpy() for one in (result.original, result.images)
    )
    pixels = np.rint(after * 255).astype(np.uint8)
    title = f"{attack.picture.title}, attacked by {attacks.get(attack.wish.attack).title}"
    picture = Picture(pixels, attack.picture.original, title, attack.picture.label, after)
    return Attacked(picture, after - before)


def summary(attack: Attack, specimen: Specimen, result: AttackResult, seconds: float) -> dict[str, Any]:
    """What the last event says."""
    questions = int(result.gradients[0] + result.evaluations[0])
    before, after = result.clean_logits[0].float(), result.logits[0].float()
    label = int(result.labels[0])
    return {
        "success": bool(result.success[0]),
        "success_8bit": bool(result.success_8bit[0]),
        "before": answer_of(specimen, before),
        "after": answer_of(specimen, after),
        "prediction": class_name(specimen.classes, int(after.argmax())),
        "probability": finite(float(after.softmax(dim=0)[label])),
        "distance": finite(float(result.distances[result.norm][0])),
        "norm": result.norm,
        "questions": questions,
        "seconds": round(seconds, 3),
    }


def answer_of(specimen: Specimen, logits: torch.Tensor) -> dict[str, Any]:
    """The likeliest class and how sure the model is."""
    shares = logits.softmax(dim=0)
    best = int(shares.argmax())
    return {"name": class_name(specimen.classes, best), "confidence": finite(float(shares[best]))}


def finite(value: float) -> float | None:
    """JSON knows no infinity."""
    return value if math.isfinite(value) else None
