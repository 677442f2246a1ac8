"""The report as Markdown: the same verdict, findings and tables, for a pull request, an issue or a terminal."""

import re
from collections.abc import Iterable, Sequence

from archaeology.figures.drawing import DataTable
from archaeology.report.content import FigureView, Report
from archaeology.report.shown import Answer


def markdown(report: Report) -> str:
    """The whole document; what comes from the run is escaped, so that no name can become markup."""
    parts = [
        f"# {plain(report.verdict.sentence)}",
        *(f"- {plain(line)}" for line in (*report.byline, f"Images: {report.data}, {report.num_images:,}")),
        f"## {report.chapters['verdict']}",
        table(
            ("", "Value", "How sure"),
            [(card.label, card.value, card.detail.replace("\n", "; ")) for card in report.verdict.cards],
        ),
        f"## {report.chapters['findings']}",
        *_findings(report),
        f"## {report.chapters['heads']}",
        "Layers and heads are counted from 1, in `heads.parquet` from 0.",
        *_figures(report.head_figures),
        *_leaderboards(report),
        f"## {report.chapters['pairs']}",
        f"The pictures are in `report.html`; these are the same images, {_first(report)} first.",
        *_choices(report),
        _pairs(report),
        *_robustness(report),
        *_representation(report),
        *_failures(report),
        f"## {report.chapters['limits']}",
        *(f"- **{plain(title)}.** {plain(text)}" for title, text in report.limits.lines),
        *(f"- Not measured. {plain(reason)}" for reason in report.limits.missing),
        f"## {report.chapters['methods']}",
        *_methods(report),
        f"## {report.chapters['provenance']}",
        "\n".join(f"    {line}" for line in report.command.splitlines()),
        *(_group(title, rows) for title, rows in report.provenance),
    ]
    if report.skipped:
        parts.append(table(("Image left out", "Reason"), report.skipped))
    return _joined(parts) + "\n"


def plain(text: str) -> str:
    """`text` with every character that Markdown or HTML would read as markup escaped, on one line."""
    flat = " ".join(str(text).split())
    flat = flat.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_{}\[\]|#~$])", r"\\\1", flat)


def _first(report: Report) -> str:
    return "the worst failures" if report.failures else "the most confidently different answers"


def _joined(parts: Iterable[str]) -> str:
    text = "\n\n".join(parts)
    return re.sub(r"(?m)^(- .*)\n\n(?=- )", r"\1\n", text)


def _findings(report: Report) -> list[str]:
    if not report.findings:
        return ["No number of this run stands out from chance."]
    return [
        f"{rank}. **{plain(found.title)}.** {plain(found.text)} (Evidence: {plain(found.evidence)}"
        f"{'; ' + plain(found.sure) if found.sure else ''})"
        for rank, found in enumerate(report.findings, start=1)
    ]


def _failures(report: Report) -> list[str]:
    if report.failures is None:
        return []
    rows = [(one.model, one.label, one.answer, one.number, one.share) for one in report.failures.confusions]
    columns = ("Model", "Label", "Answer", "Images of that label", "Share (95 % interval)")
    return [
        f"## {report.chapters['failures']}",
        *(plain(note) for note in report.verdict.notes),
        *_causes(report),
        *_figures(report.failure_figures),
        *([table(columns, rows)] if rows else []),
        *_dissection(report),
    ]


def _dissection(report: Report) -> list[str]:
    apart = report.dissection
    if apart is None:
        return []
    rows = [
        (row.title, row.rule, *("; ".join(filter(None, (one.number, one.among_right))) for one in row.cells))
        for row in apart.rows
    ]
    return [
        "### Kinds of failure",
        plain(apart.lead),
        *([table(("Kind", "Rule", *(f"{model}: failures" for model in apart.models)), rows)] if rows else []),
        *(f"- {plain(note)}" for note in apart.notes),
        *_figures(report.dissection_figures),
        *(f"- {plain(one.text)}" for one in (*apart.slices, *apart.mended)),
        *(f"- Not measured, {plain(part)}: {plain(reason)}" for part, reason in apart.missing),
    ]


def _causes(report: Report) -> list[str]:
    section = report.causes
    if section is None:
        return []
    return [
        f"### {section.title}",
        plain(section.opening),
        *(
            f"{rank}. **{plain(one.title)}** ({one.kind}). {plain(one.text)} {plain(one.number)}; {plain(one.sure)}."
            for rank, one in enumerate(section.causes, start=1)
        ),
        *(plain(note) for note in section.notes),
    ]


def _methods(report: Report) -> list[str]:
    terms = (
        *report.methods.maps,
        *report.methods.judges,
        *report.methods.attacks,
        *report.methods.measures,
        *report.methods.layers,
        *report.methods.failures,
    )
    return [
        *(
            f"- **{plain(term.title)}.** {plain(term.text)}{f' ({plain(term.source)})' if term.source else ''}"
            for term in terms
        ),
        "### References",
        *(f"- {plain(line)}" for line in report.methods.references),
    ]


def _figures(views: Sequence[FigureView]) -> list[str]:
    return [
        part
        for view in views
        for part in (
            f"### {plain(view.title)}",
            plain(view.headline),
            plain(view.explanation),
            _data_table(view.table),
            f"*{plain(view.definition)}*",
        )
    ]


def _choices(report: Report) -> list[str]:
    shown = ((name, part) for name, part in (("ViT", report.pairs.vit), ("CNN", report.pairs.cnn)))
    return [
        f"- Map of the {name}: {plain(part.title)}{f' ({plain(part.choice)})' if part.choice else ''}"
        for name, part in shown
    ]


def _leaderboards(report: Report) -> list[str]:
    chapter = report.leaderboards
    if chapter is None:
        return []
    missing = table(("Not possible", "Reason"), chapter.missing)
    return [
        f"## {report.chapters['leaderboard']}",
        f"The rule: {plain(chapter.rule)}.",
        *_figures(report.leaderboard_figures),
        *(f"- {plain(line)}" for line in (*chapter.dissent, *chapter.reach)),
        *([missing] if chapter.missing else []),
    ]


def _robustness(report: Report) -> list[str]:
    chapter = report.robustness
    if chapter is None:
        return []
    missing = table(("Not measured", "Reason"), chapter.missing)
    return [
        f"## {report.chapters['robustness']}",
        *(
            f"- **Gradients of {plain(warning.model)} may be masked.** {plain(' '.join(warning.reasons))}"
            for warning in chapter.warnings
        ),
        *(f"- {plain(line)}" for line in chapter.unsuspected),
        *_figures(report.robustness_figures),
        *([missing] if chapter.missing else []),
    ]


def _representation(report: Report) -> list[str]:
    chapter = report.representation
    if chapter is None:
        return []
    missing = table(("Not asked of the layers", "Reason"), chapter.missing)
    return [
        f"## {report.chapters['representation']}",
        plain(" ".join(chapter.intro)),
        *_figures(report.representation_figures),
        *(f"- Layers of {plain(name)}, first to last: {plain(listed)}." for name, listed in chapter.layers),
        *([missing] if chapter.missing else []),
    ]


def _pairs(report: Report) -> str:
    rows = [
        (image.id, image.label or "", _answer(image.vit), _answer(image.cnn), image.outcome_text, reading)
        for image, reading in ((pair.image, pair.reading) for pair in report.pairs.pairs)
    ]
    return table(("Image", "Label", "ViT says", "CNN says", "Outcome", "Reading"), rows)


def _answer(answer: Answer) -> str:
    judged = {True: ", right", False: ", wrong", None: ""}[answer.is_right]
    return f"{answer.name} ({answer.confidence}{judged})"


def _group(title: str, rows: Iterable[tuple[str, str]]) -> str:
    return f"### {plain(title)}\n\n{table(('', ''), list(rows))}"


def _data_table(numbers: DataTable) -> str:
    return table(numbers.columns, numbers.rows)


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown; no cell can become markup."""
    lines = [[plain(cell) for cell in row] for row in (columns, *rows)]
    lines.insert(1, ["---"] * len(columns))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
