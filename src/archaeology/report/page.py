"""The report as one HTML file that works from a disk without a network: style, script and pictures are inside it."""

import base64
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from archaeology.explorer.bundle import bundle, inline_safe
from archaeology.explorer.outcomes import OUTCOMES
from archaeology.report.content import Report
from archaeology.report.pictures import LARGEST_PIXEL_ART, ramp_uri

TEMPLATES = Path(__file__).parent / "templates"


DATA_FILE = "specimen-{}.js"


def page(report: Report, *, is_folder: bool = False) -> str:
    """The whole page; everything that comes from the run is escaped.

    Args:
        report: What it says.
        is_folder: Whether the specimens' data lie beside it, as `data_files` has them, and not in it.
    """
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    script = _asset("report.js")
    module = inline_safe(f"{bundle()}\n{_asset('specimens.js')}") if report.specimens else ""
    allowed = [_hash(text) for text in (script, module) if text]
    return environment.get_template("report.html").render(
        report=report,
        chapters=report.chapters,
        failures=OUTCOMES,
        style=Markup(_asset("report.css")),
        script=Markup(script),
        module=Markup(module),
        allowed=" ".join(f"'sha256-{name}'" for name in allowed) + (" 'self' file:" if is_folder else ""),
        subjects=Markup(_subjects(report, is_folder)),
        is_folder=is_folder,
        ramp=ramp_uri(),
        numbers=numbers_uri,
        is_pixel_art=max(report.image_size) <= LARGEST_PIXEL_ART,
    )


def _subjects(report: Report, is_folder: bool) -> str:
    """What the explorer's list says, as JSON in which no name can end its script."""
    if report.specimens is None:
        return "[]"
    entries = [
        one.entry | {"thumbnail": one.image.photo} | ({"file": DATA_FILE.format(at)} if is_folder else {})
        for at, one in enumerate(report.specimens.specimens)
    ]
    return (
        json.dumps(entries, ensure_ascii=True)
        .replace("<", "\\u003c")
        .replace(">", "\\u003e")
        .replace("&", "\\u0026")
    )


def data_files(report: Report) -> Iterator[tuple[str, str]]:
    """Name and text of the scripts beside a page that is a folder: each puts one specimen into one list."""
    for at, one in enumerate(report.specimens.specimens if report.specimens else ()):
        yield (
            DATA_FILE.format(at),
            f'(globalThis.archaeologySubjects ??= {{}})[{at}] = "{one.packed}";\n',
        )


def numbers_uri(count: int, *, down: bool) -> str:
    """1, 2, 3, ... evenly spaced along a line, as a picture: it labels a grid without an element for each number."""
    step = 1 if count <= 16 else 2 if count <= 32 else 4
    places = [(80 * number - 40, number) for number in range(1, count + 1, step)]
    texts = "".join(
        f'<text x="{10 if down else place}" y="{place + 5 if down else 14}">{number}</text>'
        for place, number in places
    )
    width, height = (20, 80 * count) if down else (80 * count, 20)
    drawing = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" '
        f'font-size="13" text-anchor="middle" fill="#808790">{texts}</svg>'
    )
    return f"data:image/svg+xml;base64,{base64.b64encode(drawing.encode()).decode('ascii')}"


def _asset(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8").strip()


def _hash(script: str) -> str:
    """How the content security policy names the one script it allows."""
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
