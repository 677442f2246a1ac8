"""The first screen: who is right more often, by how much, how sure that is, as one sentence and a few numbers."""

from dataclasses import dataclass

from archaeology.core.intervals import Interval, wilson
from archaeology.core.names import plural
from archaeology.dig.directory import RunDirectory
from archaeology.figures import accuracy, failure_types
from archaeology.figures.accuracy import NAMES, Accuracies, Percentage
from archaeology.figures.failure_types import FailureTypes
from archaeology.figures.words import THIN, count, fixed, p_value, percent, points

SMALLEST_P = 0.001
NBSP = "\N{NO-BREAK SPACE}"


@dataclass(frozen=True)
class Card:
    """One key number: what it is, its value, and how sure it is."""

    label: str
    value: str
    detail: str
    colour: str = "ink"


@dataclass(frozen=True)
class Verdict:
    """What the report says first.

    Attributes:
        claim: The first half of the headline.
        evidence: The rest of the sentence, with interval and test.
        cards: Key numbers.
        notes: Paragraphs that explain the test and the failures.
    """

    claim: str
    evidence: str
    cards: tuple[Card, ...]
    notes: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """The whole headline."""
        return self.claim + self.evidence


def verdict(run: RunDirectory) -> Verdict:
    """The verdict of a run; where there are no labels, how often the models agree."""
    found = accuracy.compute(run)
    if found is None:
        return _agreement(run)
    return _comparison(found, run.results["mcnemar"], failure_types.compute(run))


def _comparison(found: Accuracies, test: dict, failures: FailureTypes | None) -> Verdict:
    better, worse = found.leader, found.follower
    first, second = getattr(found, better), getattr(found, worse)
    p = test["p_value"]
    chance = f"McNemar p {p_value(p) if p >= SMALLEST_P else f'< {SMALLEST_P}'}".replace(" ", NBSP)
    span = f"95{THIN}% interval {_span(found.lead)}"
    claim = (
        f"The {NAMES[better]} is right on {_percent(first.value)} of {plural(first.n, 'image')}, "
        f"the {NAMES[worse]} on {_percent(second.value)}"
    )
    lead = fixed(found.lead.value, 1)
    evidence = (
        f": a difference of {lead} points ({span}), {chance}."
        if found.is_clear
        else f": the difference of {lead} points cannot be told from chance ({span}), {chance}."
    )
    cards = [
        Card("ViT is right", _percent(found.vit.value), _detail(found.vit), "vit"),
        Card("CNN is right", _percent(found.cnn.value), _detail(found.cnn), "cnn"),
        Card(f"{NAMES[better]} leads by", f"{lead}{NBSP}points", _detail(found.lead)),
    ]
    if failures is not None:
        both = int(failures.observed[3])
        share = wilson(both, failures.n)
        of_all = f"{_interval(share)} of {plural(failures.n, 'image')}"
        independent = f"{count(round(failures.expected[3]))} if errors were independent"
        cards.append(Card("Both are wrong", plural(both, "image"), f"{of_all}\n{independent}"))
    return Verdict(claim, evidence, tuple(cards), (_mcnemar_note(test),))


def _mcnemar_note(test: dict) -> str:
    vit, cnn = test["only_vit_right"], test["only_cnn_right"]
    return (
        "Images that both models get right, or both get wrong, cannot tell them apart. Of the others, the "
        f"ViT alone is right on {count(vit)}, the CNN alone on {count(cnn)}. Were both models equally good, "
        f"a split at least this uneven would come up with probability p {p_value(test['p_value'])} "
        "(McNemar's exact test)."
    )


def _agreement(run: RunDirectory) -> Verdict:
    found = run.results["agreement"]
    same = Percentage(
        100 * found["value"], 100 * found["low"], 100 * found["high"], found["n"], found["method"]
    )
    differing = round((1 - found["value"]) * found["n"])
    claim = f"The ViT and the CNN give the same answer on {_percent(same.value)} of {plural(same.n, 'image')}"
    return Verdict(
        claim=claim,
        evidence=f" (95{THIN}% interval {_span(same)}); without labels that match both models, "
        "nobody can say which of them is right.",
        cards=(
            Card("Same answer", _percent(same.value), _detail(same)),
            Card(
                "Different answers",
                plural(differing, "image"),
                f"{_interval(wilson(differing, same.n))} of {count(same.n)}",
            ),
        ),
        notes=(
            "These images have no labels that match the classes of both models, so there is no accuracy and "
            "no failure to report; everything else below holds.",
        ),
    )


def _interval(share: Interval) -> str:
    return f"{percent(share.value)} ({points(share.low)} to {points(share.high)})"


def _percent(value: float) -> str:
    return f"{fixed(value, 1)}{THIN}%"


def _span(part: Percentage) -> str:
    return f"{fixed(part.low, 1)} to {fixed(part.high, 1)}"


def _detail(part: Percentage) -> str:
    return f"95{THIN}% interval {_span(part)}\nn = {plural(part.n, 'image')}"
