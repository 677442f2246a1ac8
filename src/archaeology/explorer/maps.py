"""Maps of methods as the explorer shows them: in a unit that says something, and with words."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float

from archaeology.explain.method import explanations, title_of
from archaeology.explorer.subject import HeatMap, Model, Subject
from archaeology.figures.terms import method_term

EVEN_SHARE = "\N{MULTIPLICATION SIGN} an even share"
POSITIVE_PART = (
    "; the map is its positive part"  # said of heat maps, which the explorer shows with their signs
)
BRIGHTEST = 99.8  # percentile that a shared scale ends at: a lone outlier must not darken all the rest


def heat_map(
    method: str, values: Float[np.ndarray, "row column"], formula: str, *, is_signed: bool = False
) -> HeatMap:
    """One map, as it is drawn.

    Args:
        method: Registered name.
        values: Raw, as the method gives them; shares of attention become multiples of an even share.
        formula: What was computed.
        is_signed: Whether values below zero speak against the class.
    """
    term = method_term(method)
    values = np.asarray(values, np.float32)
    if not np.isfinite(values).all():
        return missing_map(method, "The model gives no finite numbers for this image.")
    if term.is_share:
        values = values * values.size
    says = term.says + ("; values below zero speak against it" if is_signed else "")
    formula = (formula or term.formula).removesuffix(POSITIVE_PART) if is_signed else formula or term.formula
    is_empty = not values.any() if is_signed else values.max(initial=0) <= 0
    return HeatMap(
        method,
        title_of(method),
        says,
        formula,
        EVEN_SHARE if term.is_share else term.unit,
        values,
        knows_class=_knows_class(method),
        is_signed=is_signed,
        state="empty" if is_empty else "drawn",
    )


def missing_map(method: str, reason: str) -> HeatMap:
    """A map that there is not, and why."""
    return HeatMap(
        method, title_of(method), reason, "", "", None, knows_class=_knows_class(method), state="missing"
    )


def _knows_class(method: str) -> bool:
    if method in explanations:
        return explanations.get(method).looks_at_class
    return method_term(method).knows_class


def shared_ends(maps: Sequence[HeatMap]) -> tuple[float, float] | None:
    """Ends of one scale for maps of one method, so that equal colours mean equal values; None without any."""
    values = [found.values.ravel() for found in maps if found.values is not None]
    if not values:
        return None
    sizes = np.abs(np.concatenate(values))
    high = float(max(np.percentile(sizes, BRIGHTEST), 1e-6))
    return (-high if any(found.is_signed for found in maps) else 0.0, high)


def on_shared_scales(subjects: Sequence[Subject]) -> list[Subject]:
    """Subjects with one scale for all maps that a model's method has of them, so that they can be compared."""
    alike: dict[tuple[str, str], list[HeatMap]] = {}
    for model in (model for subject in subjects for model in subject.models):
        for found in model.maps:
            alike.setdefault((model.key, found.method), []).append(found)
    scales = {key: shared_ends(maps) for key, maps in alike.items()}

    def scaled(model: Model) -> Model:
        maps = tuple(replace(found, shared=scales[model.key, found.method]) for found in model.maps)
        return replace(model, maps=maps)

    return [replace(subject, models=tuple(map(scaled, subject.models))) for subject in subjects]
