"""The report as one HTML file that works from a disk without a network: style, script and pictures are inside it."""

import base64
import hashlib
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from archaeology.report.content import Report
from archaeology.report.pictures import LARGEST_PIXEL_ART, ramp_uri
from archaeology.report.shown import FAILURES

TEMPLATES = Path(__file__).parent / "templates"


def page(report: Report) -> str:
    """The whole page; everything that comes from the run is escaped."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    script = _asset("report.js")
    return environment.get_template("report.html").render(
        report=report,
        chapters=report.chapters,
        failures=FAILURES,
        style=Markup(_asset("report.css")),
        script=Markup(script),
        script_hash=_hash(script),
        ramp=ramp_uri(),
        numbers=numbers_uri,
        is_pixel_art=max(report.image_size) <= LARGEST_PIXEL_ART,
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
