"""What a report says, before it is decided how it looks: the page and the Markdown are made from the same content."""

from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from archaeology.core.names import data_name
from archaeology.dig.directory import RunDirectory
from archaeology.figures import Drawing, figures, svg_text
from archaeology.figures.drawing import DataTable
from archaeology.figures.words import tight
from archaeology.report import provenance
from archaeology.report.causes import CausesView, causes
from archaeology.report.dissection import DISSECTION_FIGURES, Dissection, dissection
from archaeology.report.failures import Failures, failures
from archaeology.report.found import FindingView, found_view
from archaeology.report.layers import Layers, layers
from archaeology.report.leaderboards import Leaderboards, leaderboards
from archaeology.report.limits import Limits, limits
from archaeology.report.methods import Methods, methods
from archaeology.report.pairs import Pairs, pairs
from archaeology.report.representation import (
    REPRESENTATION_FIGURES,
    Representation,
    representation,
)
from archaeology.report.robustness import ROBUSTNESS_FIGURES, Robustness, robustness
from archaeology.report.shown import shown_images
from archaeology.report.specimens import Specimens, specimens
from archaeology.report.verdict import Verdict, verdict

FAILURE_FIGURES = ("accuracy", "failure_types", "accuracy_by_attribute")
LEADERBOARD_FIGURES = ("leaderboard_vit", "leaderboard_cnn")
HEAD_FIGURES = (
    "specialization",
    "entropy",
    "distance",
    "participation",
    "class_token_mass",
    "ablation_accuracy",
    "ablation_loss",
    "ablation_against_entropy",
    "ablation_ranking",
    "layer_ablation",
    "pruning",
)
CHAPTERS = {
    "verdict": "Verdict",
    "findings": "Findings",
    "specimens": "Specimens",
    "layers": "Through the layers",
    "heads": "Head by head",
    "leaderboard": "Which map to believe",
    "pairs": "Where each model looks",
    "robustness": "What breaks them",
    "representation": "What the layers know",
    "failures": "Where they fail",
    "limits": "What this report cannot say",
    "methods": "Methods",
    "provenance": "Provenance",
}


@dataclass(frozen=True)
class FigureView:
    """One figure, drawn."""

    name: str
    title: str
    headline: str
    explanation: str
    definition: str
    svg: Markup
    table: DataTable


@dataclass(frozen=True)
class Report:
    """Everything a report says; `chapters` are the keys and titles of those it has."""

    chapters: dict[str, str]
    vit: str
    cnn: str
    data: str
    started: str
    byline: tuple[str, ...]
    verdict: Verdict
    findings: tuple[FindingView, ...]
    num_questions: int | None
    specimens: Specimens | None
    pairs: Pairs
    leaderboards: Leaderboards | None
    leaderboard_figures: tuple[FigureView, ...]
    layers: Layers | None
    head_figures: tuple[FigureView, ...]
    robustness: Robustness | None
    robustness_figures: tuple[FigureView, ...]
    representation: Representation | None
    representation_figures: tuple[FigureView, ...]
    failures: Failures | None
    failure_figures: tuple[FigureView, ...]
    causes: CausesView | None
    dissection: Dissection | None
    dissection_figures: tuple[FigureView, ...]
    limits: Limits
    methods: Methods
    grad_cam_layer: str | None
    num_images: int
    image_size: tuple[int, int]
    command: str
    configuration: str
    provenance: tuple[tuple[str, list[tuple[str, str]]], ...]
    skipped: tuple[tuple[str, str], ...]


def report_of(run: RunDirectory, *, full: int | None = 0, room: int = 0) -> Report:
    """The content of the report on `run`.

    Args:
        run: A finished run.
        full: How many specimens get all of their attention in the explorer; None for as many as fit.
        room: Bytes for all specimens together where `full` is None.
    """
    facts, images = run.run, shown_images(run)
    drawn = {name: view for name in figures if (view := figure_view(run, figures.get(name))) is not None}
    height, width = (int(size) for size in run.specimens["pixels"].shape[-2:])
    models, side_by_side = facts["models"], pairs(run, images)
    boards, breaks, wrong = leaderboards(run), robustness(run), failures(run)
    layered = representation(run)
    explored = specimens(run, images, full=full, room=room)
    optional = {
        "specimens": explored,
        "leaderboard": boards,
        "robustness": breaks,
        "representation": layered,
        "failures": wrong,
    }
    absent = {key for key, found in optional.items() if found is None}
    chapters = {key: title for key, title in CHAPTERS.items() if key not in absent}
    return Report(
        chapters=chapters,
        vit=models["vit"]["name"],
        cnn=models["cnn"]["name"],
        data=data_name(str(facts["data"]["name"]), facts["data"]["split"]),
        started=str(facts["provenance"].get("started", "")),
        byline=(_vit_words(models["vit"]), _model_words("CNN", models["cnn"])),
        verdict=verdict(run),
        findings=tuple(
            found_view(found, {name: view.title for name, view in drawn.items()}, chapters)
            for found in _ranked(run.results["findings"])
        ),
        num_questions=run.results.get("num_questions"),
        specimens=explored,
        pairs=side_by_side,
        leaderboards=boards,
        leaderboard_figures=_views(drawn, LEADERBOARD_FIGURES),
        layers=layers(run, images),
        head_figures=_views(drawn, HEAD_FIGURES),
        robustness=breaks,
        robustness_figures=_views(drawn, ROBUSTNESS_FIGURES),
        representation=layered,
        representation_figures=_views(drawn, REPRESENTATION_FIGURES),
        failures=wrong,
        failure_figures=_views(drawn, FAILURE_FIGURES),
        causes=causes(run),
        dissection=dissection(run),
        dissection_figures=_views(drawn, DISSECTION_FIGURES),
        limits=limits(run),
        methods=methods(run, side_by_side),
        grad_cam_layer=models["cnn"].get("target_layer"),
        num_images=run.results["n"],
        image_size=(height, width),
        command=provenance.command(run),
        configuration=provenance.configuration(run),
        provenance=tuple(provenance.provenance_groups(run)),
        skipped=tuple(provenance.skipped(run)),
    )


def figure_view(run: RunDirectory, drawing: Drawing[RunDirectory, Any]) -> FigureView | None:
    """`drawing` made from `run`; None where the run has no numbers for it."""
    data = drawing.compute(run)
    if data is None:
        return None
    headline = tight(drawing.headline(data))
    words = drawing.wording(has_truth=run.has_truth)
    return FigureView(
        name=drawing.name,
        title=drawing.title,
        headline=headline,
        explanation=tight(words.explanation),
        definition=tight(words.definition),
        svg=Markup(svg_text(drawing.draw(data), drawing.name, f"{drawing.title} {headline}")),
        table=drawing.table(data),
    )


def _views(drawn: dict[str, FigureView], names: tuple[str, ...]) -> tuple[FigureView, ...]:
    return tuple(drawn[name] for name in names if name in drawn)


def _ranked(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(found, key=lambda finding: -float(finding["strength"]))


def _model_words(word: str, facts: dict[str, Any]) -> str:
    return f"{word}: {facts['name']}, {facts['num_parameters'] / 1e6:,.2f} million parameters"


def _vit_words(facts: dict[str, Any]) -> str:
    layout = facts.get("layout")
    patches = f", {layout['rows']} by {layout['columns']} patches" if layout else ""
    return _model_words("ViT", facts) + patches
