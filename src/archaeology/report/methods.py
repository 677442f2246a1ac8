"""Everything that was drawn or asked, explained: methods, judges, and the rules by which heads are named."""

import re
from dataclasses import dataclass

from markupsafe import Markup, escape

from archaeology.dig.directory import RunDirectory
from archaeology.explain.method import title_of
from archaeology.figures.specialization import rule_words
from archaeology.figures.terms import METHODS, judge_term, method_term
from archaeology.report.attack_terms import AttackTerm
from archaeology.report.dissection import terms_used as failure_terms_used
from archaeology.report.pairs import Pairs
from archaeology.report.references import references
from archaeology.report.representation import terms_used as layer_terms_used
from archaeology.report.robustness import attacks_used, measures_used
from archaeology.stats.labels import RULES


@dataclass(frozen=True)
class Term:
    """One thing explained: what it says or asks, by which formula, from where."""

    title: str
    formula: Markup
    text: str
    source: str


@dataclass(frozen=True)
class Methods:
    """The chapter.

    Attributes:
        maps: Methods that the report draws or that were judged.
        judges: That judged them; empty where none did.
        rules: By which heads are named, in order, as label, rule and reason; empty where heads have no labels.
        is_corrected: Whether tests of heads were corrected for many comparisons.
        attacks: That images were changed by; empty for a run without a survey of robustness.
        measures: Of what breaks the models, likewise.
        layers: Of what the layers know; empty for a run that did not ask them.
        failures: How failures were taken apart, likewise.
        references: Of all these, whole, in the order of the alphabet.
    """

    maps: tuple[Term, ...]
    judges: tuple[Term, ...]
    rules: tuple[tuple[str, str, str], ...]
    is_corrected: bool
    attacks: tuple[Term, ...]
    measures: tuple[Term, ...]
    layers: tuple[Term, ...]
    failures: tuple[Term, ...]
    references: tuple[str, ...]


def methods(run: RunDirectory, drawn: Pairs) -> Methods:
    """What has to be explained for this run."""
    boards = [board for board in (run.results.get("leaderboard") or {}).values() if board]
    judged = [
        standing["method"] for board in boards for each in board["verdicts"] for standing in each["standings"]
    ]
    used = {"rollout", drawn.vit.method, drawn.cnn.method, *judged}
    order = [*METHODS, *sorted(used - METHODS.keys())]
    asked = dict.fromkeys(verdict["judge"] for board in boards for verdict in board["verdicts"])
    columns = run.heads.column_names
    labelled = "label" in columns and any(run.heads.column("label").to_pylist())
    tested = "p_corrected" in columns and any(
        p is not None and p == p for p in run.heads.column("p_corrected").to_pylist()
    )
    maps, judges = [_map(name) for name in order if name in used], [_judge(name) for name in asked]
    attacks = [_attack(term, parameters) for term, parameters in attacks_used(run.robustness or {})]
    measures = [_attack(term) for term in measures_used(run.robustness or {})]
    layers = [_attack(term) for term in layer_terms_used(run.representation or {})]
    apart = [_attack(term) for term in failure_terms_used(run.dissection or {})]
    return Methods(
        maps=tuple(maps),
        judges=tuple(judges),
        rules=tuple((rule.label, rule_words(rule), rule.reason) for rule in RULES) if labelled else (),
        is_corrected=tested or run.layers is not None,
        attacks=tuple(attacks),
        measures=tuple(measures),
        layers=tuple(layers),
        failures=tuple(apart),
        references=references(term.source for term in (*maps, *judges, *attacks, *measures, *layers, *apart)),
    )


def _map(name: str) -> Term:
    term = method_term(name)
    blind = "" if term.knows_class else " It does not know which class was answered."
    note = f" {term.note}" if term.note else ""
    return Term(title_of(name), lowered(term.formula), f"Shows {term.says}.{note}{blind}", term.source)


def _judge(name: str) -> Term:
    term = judge_term(name)
    return Term(term.title, lowered(term.formula), term.asks, term.source)


def _attack(term: AttackTerm, parameters: str = "") -> Term:
    text = f"{term.text} {parameters}".strip()
    return Term(term.title, lowered(term.formula), text, term.source)


def lowered(formula: str) -> Markup:
    """A formula with its indices, like the c of w_c, set below the line."""
    return Markup(re.sub(r"_(\w)", r"<sub>\1</sub>", str(escape(formula))))
