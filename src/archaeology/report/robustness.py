"""What breaks them: whether the attacks can be believed, then what each measure says, with how it was asked."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from archaeology.core.names import plural
from archaeology.dig.directory import RunDirectory
from archaeology.figures._robustness import attack_text, size_text, subjects_of
from archaeology.figures.words import tight
from archaeology.report.attack_terms import MEASURES, AttackTerm, attack_term

CHECKS = ("gradients", "gradients_l2")  # parts that look for masked gradients
ROBUSTNESS_FIGURES = (  # in pairs that stand beside each other
    "robustness_curve",
    "transfer",
    "attention_shift",
    "attack_carriers",
    "reattack",
    "fourier_sensitivity",
    "perturbation_spectrum",
    "frequency_passes",
    "shape_share",
    "corruptions",
    "attacked_images",
    "patch_drop",
)


@dataclass(frozen=True)
class MaskedGradients:
    """Why the curves of one model are not to be believed: what was seen, a sentence each."""

    model: str
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Robustness:
    """The chapter.

    Attributes:
        models: Their names.
        num_images: Of the survey.
        warnings: Models that may hide their gradients, with reasons.
        unsuspected: What was asked of the others without finding a sign, a sentence each.
        missing: Parts that could not be measured, with reasons.
    """

    models: tuple[str, ...]
    num_images: int
    warnings: tuple[MaskedGradients, ...]
    unsuspected: tuple[str, ...]
    missing: tuple[tuple[str, str], ...]


def robustness(run: RunDirectory) -> Robustness | None:
    """The chapter; None for a run without a survey of robustness."""
    document = run.robustness
    if not document:
        return None
    checked = [(name, found) for part in CHECKS for name, found in (document.get(part) or {}).items()]
    subjects = subjects_of(document, [name for name, _ in checked])
    flags: dict[str, list[str]] = {name: [] for name, _ in checked}
    for name, found in checked:
        flags[name] += [
            tight(_sentence(flag)) for flag in found["flags"] if _sentence(flag) not in flags[name]
        ]
    warnings = [MaskedGradients(subjects[name].title, tuple(said)) for name, said in flags.items() if said]
    unsuspected = [tight(_nothing(subjects[name].title, found)) for name, found in checked if not flags[name]]
    return Robustness(
        models=tuple(one.title for one in subjects.values()),
        num_images=int(document.get("n") or 0),
        warnings=tuple(warnings),
        unsuspected=tuple(unsuspected),
        missing=tuple(
            (MEASURES[part].title if part in MEASURES else part.replace("_", " "), str(reason))
            for part, reason in (document.get("missing") or {}).items()
        ),
    )


def _sentence(flag: str) -> str:
    return f"{flag[:1].upper()}{flag[1:]}{'' if flag.endswith('.') else '.'}"


def _nothing(title: str, found: Mapping[str, Any]) -> str:
    asked = plural(len(found["suspicions"]), "question")
    attack = (
        f"{attack_text(found['attack'], found['norm'])}, {size_text(float(found['epsilon']), found['norm'])}"
    )
    return (
        f"{title}: {asked} asked on {plural(int(found['n']), 'image')} ({attack}), none answered by a sign of masked "
        "gradients. That is no proof that there is none."
    )


def attacks_used(document: Mapping[str, Any]) -> tuple[tuple[AttackTerm, str], ...]:
    """Attacks of the document, each with its parameters in words."""
    found: dict[str, str] = {}
    for one in document.get("curves") or ():
        for curve in one["curves"][:1]:
            found.setdefault(str(one["attack"]), _parameters(curve.get("parameters") or {}))
    for report in [one for part in CHECKS for one in (document.get(part) or {}).values()]:
        found.setdefault(str(report["attack"]), _parameters(report.get("parameters") or {}))
    if any(
        document.get(part)
        for part in ("transfer", "spectrum", "attention", "carriers", "reattack", "pictures")
    ):
        found.setdefault("pgd", "")
    return tuple((attack_term(name), parameters) for name, parameters in found.items())


def _parameters(parameters: Mapping[str, Any]) -> str:
    said = [
        f"{name.replace('_', ' ')} {str(value).replace('_', ' ')}"
        for name, value in parameters.items()
        if value is not None
    ]
    return f"Here: {', '.join(said)}." if said else ""


def measures_used(document: Mapping[str, Any]) -> tuple[AttackTerm, ...]:
    """Measures that the document has."""
    return tuple(term for part, term in MEASURES.items() if document.get(part))
