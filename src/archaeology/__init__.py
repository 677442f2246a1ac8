"""Attention Archaeology: dig into what a vision transformer learned, with an interval behind every picture.

The names below load on first use, so that importing the package costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from archaeology.ablate.heads import ablate_heads as ablate_heads
    from archaeology.attacks.method import attack_images as attack_images
    from archaeology.capture.checks import check_capture as check_capture
    from archaeology.capture.interceptor import intercepted as intercepted
    from archaeology.capture.record import Record as Record
    from archaeology.capture.record import capture as capture
    from archaeology.data.open import open_source as open_source
    from archaeology.dig.learning import compare_learning as compare_learning
    from archaeology.dig.run import dig as dig
    from archaeology.explain.explanation import Explanation as Explanation
    from archaeology.explain.method import explain as explain
    from archaeology.explain.method import explain_images as explain_images
    from archaeology.explorer.explore import explore as explore
    from archaeology.report.write import write_report as write_report
    from archaeology.represent.survey import represent as represent
    from archaeology.represent.zero_shot import zero_shot as zero_shot
    from archaeology.robustness.curve import robustness_curve as robustness_curve
    from archaeology.robustness.survey import survey_robustness as survey_robustness
    from archaeology.specimens.image_text import load_image_text as load_image_text
    from archaeology.specimens.load import load as load
    from archaeology.specimens.module import of_module as of_module
    from archaeology.specimens.specimen import Specimen as Specimen
    from archaeology.stats.specialization import survey_specialization as survey_specialization
    from archaeology.stats.survey import survey_heads as survey_heads

__version__ = "0.1.0"

_HOMES = {
    "load": "archaeology.specimens.load",
    "load_image_text": "archaeology.specimens.image_text",
    "of_module": "archaeology.specimens.module",
    "Specimen": "archaeology.specimens.specimen",
    "open_source": "archaeology.data.open",
    "intercepted": "archaeology.capture.interceptor",
    "check_capture": "archaeology.capture.checks",
    "Record": "archaeology.capture.record",
    "Explanation": "archaeology.explain.explanation",
    "explain_images": "archaeology.explain.method",
    "survey_heads": "archaeology.stats.survey",
    "survey_specialization": "archaeology.stats.specialization",
    "ablate_heads": "archaeology.ablate.heads",
    "attack_images": "archaeology.attacks.method",
    "explore": "archaeology.explorer.explore",
    "robustness_curve": "archaeology.robustness.curve",
    "survey_robustness": "archaeology.robustness.survey",
    "compare_learning": "archaeology.dig.learning",
    "write_report": "archaeology.report.write",
    "zero_shot": "archaeology.represent.zero_shot",
}
# Packages that are called as their main function (core/facade.py).
_CALLED = ("capture", "explain", "dig", "represent")

__all__ = sorted((*_HOMES, *_CALLED))  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name in _CALLED:
        return import_module(f"archaeology.{name}")
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'archaeology' has no attribute {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
