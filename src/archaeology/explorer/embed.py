"""The explorer inside one HTML document that needs no server and no network: for notebooks, documents, and to send on.

Everything is in the page: the module, and each image's numbers as base64 of zlib, unpacked when the image is chosen.
Its content security policy lets it run this one script and load nothing. In a notebook the document stands in a frame
of its own (`srcdoc`), so that neither style nor names of the surroundings meet those of the explorer.
"""

import base64
import json
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from archaeology.core.pictures import data_uri
from archaeology.core.storage import write_text
from archaeology.dig.directory import RunDirectory
from archaeology.explorer.bundle import bundle, inline_safe, script_hash
from archaeology.explorer.from_run import RunSubjects
from archaeology.explorer.subject import Subject

MEGABYTE = 1_000_000
MOST_MEGABYTES = 10.0
LEVEL = 6  # of zlib: higher ones take many times as long for 1 %
THUMBNAIL = 64  # pixels along the longer side
HEIGHT = 760  # pixels of a frame in a notebook
STYLE = (
    ":root{color-scheme:light dark}body{margin:0;padding:clamp(.5rem,2vw,1.5rem);"
    "font-family:system-ui,sans-serif;background:Canvas;color:CanvasText}"
)
START = """{
const entries = JSON.parse(document.getElementById("subjects").textContent);
const numbers = (id) => document.getElementById("numbers-" + entries.findIndex((entry) => entry.id === id)).textContent;
const source = { subjects: entries, load: (id) => inflateText(numbers(id)) };
mount(document.getElementById("explorer"), source, JSON.parse(document.getElementById("options").textContent));
}
"""


@dataclass(frozen=True)
class PackedSubject:
    """A subject as a page holds it.

    Attributes:
        entry: What the list of subjects says of it.
        text: Its container, deflated, in base64.
        is_whole: Whether everything is in it, not just the readout's attention.
    """

    entry: dict[str, Any]
    text: str
    is_whole: bool


@dataclass(frozen=True, repr=False)
class ExplorerView:
    """An explorer that shows itself at the end of a notebook's cell.

    Attributes:
        document: The whole page.
        title: Of the page and of its frame.
        height: Of the frame in pixels.
    """

    document: str
    title: str
    height: int = HEIGHT

    def _repr_html_(self) -> str:
        """The page in a frame that may run scripts and save files, and nothing else."""
        # In ASCII, so that a page around it that does not say how it is written cannot change the script.
        document = escape(self.document).encode("ascii", "xmlcharrefreplace").decode("ascii")
        return (
            f'<iframe title="{escape(self.title)}" srcdoc="{document}" width="100%" '
            f'height="{self.height}" sandbox="allow-scripts allow-downloads" style="border:0"></iframe>'
        )

    def save(self, path: Path | str) -> Path:
        """Write the page as a file that opens in any browser."""
        write_text(Path(path), self.document)
        return Path(path)

    def __repr__(self) -> str:
        return f"ExplorerView({self.title!r}, {len(self.document) / MEGABYTE:.1f} MB)"


def explorer_html(
    what: RunDirectory | Sequence[Subject],
    *,
    title: str = "Attention explorer",
    most_megabytes: float = MOST_MEGABYTES,
    deep_links: bool = True,
    controls: Sequence[str] | None = None,
) -> str:
    """A complete page with the explorer in it.

    Args:
        what: A run, or subjects.
        title: Of the page.
        most_megabytes: Of the numbers in the page. Images that come first get whole patterns while they fit, the others
            the readout's attention and maps; those that do not fit even so are left out.
        deep_links: Whether the view is written into the address, so that a link shows the same again.
        controls: Names of the controls to show; all if None.

    Raises:
        ValueError: If there is no subject, or not even the first fits.
    """
    makers = _makers(what)
    packed = packed_within(makers, int(most_megabytes * MEGABYTE))
    options: dict[str, Any] = {"prefix": "x"} if deep_links else {}
    options |= {} if controls is None else {"controls": list(controls)}
    return page_of(packed, title, options)


def page_of(packed: Sequence[PackedSubject], title: str, options: dict[str, Any]) -> str:
    """The page of subjects that are packed; everything that came with them is escaped."""
    script = inline_safe(bundle() + START)
    policy = (
        f"default-src 'none'; script-src {script_hash(script)}; style-src {script_hash(STYLE)}; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )
    data = "\n".join(
        f'<script type="application/octet-stream" id="numbers-{number}" data-encoding="deflate-base64">'
        f"{one.text}</script>"
        for number, one in enumerate(packed)
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(policy)}">\n'
        '<meta name="viewport" content="width=device-width">\n<link rel="icon" href="data:,">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        f'<main id="explorer"><noscript>{escape(title)}: the explorer needs JavaScript.</noscript></main>\n'
        f'<script type="application/json" id="subjects">{json_in_page([one.entry for one in packed])}</script>\n'
        f'<script type="application/json" id="options">{json_in_page(options)}</script>\n'
        f'{data}\n<script type="module">{script}</script>\n</body>\n</html>\n'
    )


def packed_within(makers: Iterable[Callable[[], Subject]], most_bytes: int) -> list[PackedSubject]:
    """Subjects packed such that all together take at most so many bytes of a page.

    Everyone gets its readout first, then those in front get whole patterns while there is room.

    Args:
        makers: Makes each subject; called once or twice, so that only one is held at a time.
        most_bytes: Of base64.

    Raises:
        ValueError: If there is none, or not even the first one's readout fits.
    """
    makers = list(makers)
    packed: list[PackedSubject] = []
    room = most_bytes
    for make in makers:
        small = _packed(make().readout_only(), is_whole=False)
        if len(small.text) > room:
            break
        packed.append(small)
        room -= len(small.text)
    if not packed:
        raise ValueError(
            f"a page needs a subject that fits, but got {len(makers)} and room for {most_bytes / MEGABYTE:g} MB; allow "
            "more megabytes, or give an image."
        )
    for number, small in enumerate(packed):
        subject = makers[number]()
        if all(model.attention is None or _is_bare(model.attention) for model in subject.models):
            continue
        whole = _packed(subject, is_whole=True)
        if len(whole.text) - len(small.text) > room:
            break
        packed[number] = whole
        room -= len(whole.text) - len(small.text)
    return packed


def deflated(container: bytes) -> str:
    """A container as it stands in a page: base64 of zlib."""
    return base64.b64encode(zlib.compress(container, LEVEL)).decode("ascii")


def json_in_page(value: Any) -> str:
    """JSON that can stand inside a `<script>` element: nothing in it is markup."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _packed(subject: Subject, *, is_whole: bool) -> PackedSubject:
    entry = subject.entry() | {"thumbnail": thumbnail_uri(subject.pixels)}
    return PackedSubject(entry, deflated(subject.pack()), is_whole)


def thumbnail_uri(pixels: UInt8[np.ndarray, "height width 3"]) -> str:
    """A small picture as a data URI: pixel by pixel where it is small anyway, else as WebP."""
    picture = Image.fromarray(pixels)
    is_small = max(picture.size) <= THUMBNAIL
    picture.thumbnail((THUMBNAIL, THUMBNAIL), Image.Resampling.LANCZOS)
    kind = "PNG" if is_small else "WEBP"
    return data_uri(picture, kind)


def _is_bare(attention: Any) -> bool:
    return all(layer.pattern is None for layer in attention.layers)


def _makers(what: RunDirectory | Sequence[Subject]) -> list[Callable[[], Subject]]:
    if isinstance(what, RunDirectory):
        subjects = RunSubjects(what)
        return [lambda name=name: subjects.subject(name) for name in subjects.ids]
    return [lambda subject=subject: subject for subject in what]
