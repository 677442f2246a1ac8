"""What ways of learning buy, in sentences that never say more than the tests behind them."""

from archaeology.core.names import joined
from archaeology.dig.learning_result import MEASURES, Difference, LearningComparison, Subject


def findings(found: LearningComparison) -> tuple[str, ...]:
    """A sentence for each learnt subject against its floors and against the reference, and what was asked in all."""
    said: list[str] = []
    for subject in found.subjects:
        if subject.role != "learnt":
            continue
        said.append(_over_floors(found, subject))
        if subject.name != found.reference:
            said.append(_against_reference(found, subject))
    said += _bought(found)
    count = len(found.differences)
    said.append(
        f"{count} differences were tested on the same images, by random signs with Holm's correction over all of them; "
        "only sure ones are told. They are of these models: another training of the same recipe may differ."
    )
    return tuple(said)


def _over_floors(found: LearningComparison, subject: Subject) -> str:
    parts = []
    for against, words in (("random", "random weights"), ("pixels", "raw pixels")):
        asked = [each for each in _of(found, subject, against) if MEASURES[each.measure].more_is_better]
        if not asked:
            continue
        more = [each for each in asked if each.side > 0]
        less = [each for each in asked if each.side < 0]
        told = [f"more than {words} by {_list(more)}"] if more else []
        told += [f"less by {_list(less)}"] if less else []
        parts.append(" and ".join(told) if told else f"not surely more than {words} in anything asked")
    if not parts:
        return f"{_called(subject)} was not held against a floor."
    return f"{_called(subject)} has {'; '.join(parts)}."


def _against_reference(found: LearningComparison, subject: Subject) -> str:
    asked = _of(found, subject, "reference")
    sure = [each for each in asked if each.side]
    if not asked:
        return f"{_called(subject)} and {found.reference} have no measure in common."
    if not sure:
        return f"{_called(subject)} does not surely differ from {found.reference} in anything asked."
    more, less = ([each for each in sure if each.side == side] for side in (1, -1))
    told = [f"more {_list(more)}"] if more else []
    told += [f"less {_list(less, turned=True)}"] if less else []
    rest = [each.measure for each in asked if not each.side]
    tail = f"; not surely different: {', '.join(rest)}" if rest else ""
    return f"Against {found.reference}, {_called(subject)} has {' and '.join(told)}{tail}."


def _bought(found: LearningComparison) -> list[str]:
    """What learning without labels buys, over all that did so: only what every test of them agrees on."""
    own = [subject for subject in found.subjects if subject.role == "learnt" and subject.is_without_labels]
    if not own:
        return []
    said = []
    for against, words in (("random", "Over random weights"), ("reference", f"Against {found.reference}")):
        held = [one for one in own if against == "random" or one.name != found.reference]
        by_measure: dict[str, list[Difference]] = {}
        for subject in held:
            for each in _of(found, subject, against):
                by_measure.setdefault(each.measure, []).append(each)
        if not by_measure:
            continue
        more, less = (
            [
                name
                for name, each in by_measure.items()
                if len(each) == len(held) and all(one.side == side for one in each)
            ]
            for side in (1, -1)
        )
        told = [
            f"{verb} {joined(names)}"
            for verb, names in (
                ("buys", [name for name in more if MEASURES[name].more_is_better]),
                ("costs", [name for name in less if MEASURES[name].more_is_better]),
                ("raises", [name for name in more if not MEASURES[name].more_is_better]),
                ("lowers", [name for name in less if not MEASURES[name].more_is_better]),
            )
            if names
        ]
        who = "each of them" if len(held) > 1 else held[0].name
        nothing = "surely changes nothing in which all agree" if len(held) > 1 else "changes nothing surely"
        claim = "; ".join(told) if told else nothing
        said.append(f"{words}, learning without labels ({who}) {claim}.")
    return said


def _of(found: LearningComparison, subject: Subject, against: str) -> list[Difference]:
    return [each for each in found.differences if each.first == subject.name and each.against == against]


def _called(subject: Subject) -> str:
    return subject.name if subject.way in ("unknown", "none") else f"{subject.name} ({subject.way})"


def _list(differences: list[Difference], *, turned: bool = False) -> str:
    sign = -1 if turned else 1
    said = []
    for each in differences:
        ends = sorted((sign * 100 * each.interval.low, sign * 100 * each.interval.high))
        said.append(
            f"{each.measure} {sign * 100 * each.interval.value:.1f} points ({ends[0]:.1f} to {ends[1]:.1f})"
        )
    return ", ".join(said)
