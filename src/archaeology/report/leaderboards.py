"""Which map to believe: what the leaderboards of both models say beside their figures."""

from dataclasses import dataclass

from archaeology.dig.directory import RunDirectory
from archaeology.explain.method import title_of
from archaeology.figures._leaderboard import board
from archaeology.figures.accuracy import NAMES
from archaeology.figures.terms import judge_term
from archaeology.figures.words import fixed, tight

VETO = "randomization"


@dataclass(frozen=True)
class Asked:
    """One judge: its name, what it asks, whether it helps to decide who wins, and what more it does."""

    title: str
    asks: str
    decides: bool
    say: str


@dataclass(frozen=True)
class Leaderboards:
    """The chapter.

    Attributes:
        rule: By which a winner is found.
        judges: All that were asked, those that decide first.
        dissent: For each model with a winner, which judges put another method first, in words.
        reach: For each model, how far its answer moves when the whole image goes, in words.
        missing: For each model and reason, methods that the model does not allow.
    """

    rule: str
    judges: tuple[Asked, ...]
    dissent: tuple[str, ...]
    reach: tuple[str, ...]
    missing: tuple[tuple[str, str], ...]


def leaderboards(run: RunDirectory) -> Leaderboards | None:
    """The chapter; None for a run without leaderboards."""
    boards = [found for model in NAMES if (found := board(run, model)) is not None]
    if not boards:
        return None
    asked: dict[str, Asked] = {}
    for found in boards:
        for place, judge in enumerate(found.judges):
            term = judge_term(judge)
            decides = place < found.num_deciding
            say = (
                " A method that fails cannot win."
                if judge == VETO
                else ""
                if decides
                else " Does not decide."
            )
            asked.setdefault(judge, Asked(term.title, term.asks, decides, say))
    dissent, reach, missing = [], [], []
    for found in boards:
        name, facts = NAMES[found.model], run.results["leaderboard"][found.model]
        dissent += _dissent(name, found.winner, facts)
        reach += _reach(name, facts.get("reach"))
        reasons: dict[str, list[str]] = {}
        for method, reason in found.missing.items():
            reasons.setdefault(reason, []).append(title_of(method))
        missing += [(f"{name}: {', '.join(methods)}", reason) for reason, methods in reasons.items()]
    judges = tuple(sorted(asked.values(), key=lambda judge: not judge.decides))
    return Leaderboards(boards[0].rule, judges, tuple(dissent), tuple(reach), tuple(missing))


def _dissent(name: str, winner: str | None, facts: dict) -> list[str]:
    """Judges that decide and have another winner."""
    if winner is None:
        return []
    said = []
    for verdict in facts["verdicts"]:
        if verdict["counts"] and verdict["winner"] not in (None, winner):
            said.append(f"{judge_term(verdict['judge']).title} prefers {title_of(verdict['winner'])}")
    return [f"{name}: not every judge puts the winner first; {', '.join(said)}."] if said else []


def _reach(name: str, found: dict | None) -> list[str]:
    if not found or found.get("value") is None:
        return []
    value, low, high = (fixed(float(found[end]), 2) for end in ("value", "low", "high"))
    said = (
        f"{name}: without the image (all of it replaced by its mean colour) the probability of the class moves by "
        f"{value} on average (95 % interval {low} to {high}); that is what there is to explain."
    )
    return [tight(said)]
