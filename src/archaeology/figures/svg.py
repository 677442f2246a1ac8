"""A figure as SVG for a page: its colours are names a page may redefine, so it suits light and dark."""

import io
import re
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from archaeology.figures._theme import COLOURS, themed

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SVG, XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
POINTS_PER_INCH, PIXELS_PER_POINT = 72, 4 / 3
Corners = tuple[float, float, float, float]
SLACK = 0.05  # points by which an image may stand over its axes, by rounding


def svg_text(figure: "Figure", name: str, label: str) -> str:
    """`figure` as one SVG element to paste into a page: the same bytes every time, without fonts.

    Colours of the theme become `var(--vit, #2b6a99)`: a page may redefine them, else they stand as they are.

    Args:
        figure: What to write, drawn inside `themed(name)`.
        name: Prefix of the identifiers, so that several figures share a page.
        label: What the picture says, for those who do not see it.
    """
    buffer = io.StringIO()
    silent = {"Date": None, "Creator": None, "Format": None, "Type": None}
    with themed(name):
        figure.savefig(buffer, format="svg", metadata=silent)
    text = buffer.getvalue()
    drawing = ElementTree.fromstring(text[text.index("<svg") :])
    _simplify(drawing)
    _unclip_images(drawing)
    _gather_definitions(drawing)
    _name_identifiers(drawing, name)
    _describe(drawing, figure, label)
    written = ElementTree.tostring(drawing, encoding="unicode", short_empty_elements=True)
    for colour_name, colour in COLOURS.items():
        written = written.replace(colour, f"var(--{colour_name}, {colour})")
    return written


def _simplify(parent: ElementTree.Element) -> None:
    """Drop what draws nothing, unwrap groups that say nothing, and leave the fonts to the page."""
    kept: list[ElementTree.Element] = []
    for child in list(parent):
        child.tag = child.tag.replace(f"{{{SVG}}}", "")
        _simplify(child)
        _clean(child)
        if child.tag in ("style", "metadata") or child.get("style") == "fill: none":
            continue
        kept += list(child) if child.tag == "g" and set(child.attrib) <= {"id"} else [child]
    parent[:] = kept
    parent.text = parent.text if parent.tag == "text" else None


def _unclip_images(drawing: ElementTree.Element) -> None:
    """Take images out of the groups that clip them to their axes where they lie inside anyway, as most do."""
    boxes = {
        f"url(#{clip.get('id')})": _box(clip[0], "1 0 0 1 0 0")
        for clip in drawing.iter("clipPath")
        if len(clip) == 1 and clip[0].tag == "rect"
    }
    for parent in list(drawing.iter()):
        parent[:] = [_alone_if_inside(child, boxes) for child in parent]


def _alone_if_inside(group: ElementTree.Element, boxes: dict[str, Corners]) -> ElementTree.Element:
    box = boxes.get(group.get("clip-path", ""))
    if group.tag != "g" or len(group.attrib) != 1 or box is None or [one.tag for one in group] != ["image"]:
        return group
    given = re.fullmatch(r"matrix\(([-\d.e]+ 0 0 [-\d. e]+)\)", group[0].get("transform", ""))
    if given is None:  # turned
        return group
    left, top, right, bottom = _box(group[0], given[1])
    inside = (
        left > box[0] - SLACK and top > box[1] - SLACK and right < box[2] + SLACK and bottom < box[3] + SLACK
    )
    return group[0] if inside else group


def _box(element: ElementTree.Element, matrix: str) -> Corners:
    """Left, top, right and bottom of a rectangle or an image that is scaled and moved."""
    across, _, _, down, x, y = map(float, matrix.split())
    left, top, width, height = (float(element.get(key, 0)) for key in ("x", "y", "width", "height"))
    ends_x, ends_y = (
        sorted((scale * start + shift, scale * (start + length) + shift))
        for scale, shift, start, length in ((across, x, left, width), (down, y, top, height))
    )
    return ends_x[0], ends_y[0], ends_x[1], ends_y[1]


def _gather_definitions(drawing: ElementTree.Element) -> None:
    """All definitions in one place, each that is used: Matplotlib opens a place for each."""
    found: list[ElementTree.Element] = []
    for parent in list(drawing.iter()):
        if parent.tag != "defs":
            found += [each for child in parent if child.tag == "defs" for each in child]
            parent[:] = [child for child in parent if child.tag != "defs"]
    values = {value for element in (*drawing.iter(), *found) for value in element.attrib.values()}
    used = [each for each in found if {f"#{each.get('id')}", f"url(#{each.get('id')})"} & values]
    if used:
        ElementTree.SubElement(drawing, "defs").extend(used)


def _clean(element: ElementTree.Element) -> None:
    element.tail = None
    attributes = element.attrib
    if f"{{{XLINK}}}href" in attributes:
        attributes["href"] = re.sub(r"\s", "", attributes.pop(f"{{{XLINK}}}href"))
    if "style" in attributes:
        attributes["style"] = re.sub(r"font-family:[^;]*;\s*", "", attributes["style"])
    if attributes.get("transform", "").startswith("rotate(-0 "):
        del attributes["transform"]
    if "d" in attributes:
        attributes["d"] = " ".join(attributes["d"].split())


def _name_identifiers(drawing: ElementTree.Element, name: str) -> None:
    """Keep the identifiers something refers to, prefixed; drop the others."""
    link = re.compile(r"^(url\(#|#)([\w.-]+)(\)?)$")
    everything = list(drawing.iter())
    links = [link.match(value) for element in everything for value in element.attrib.values()]
    used = {found[2] for found in links if found}
    for element in everything:
        for key, value in list(element.attrib.items()):
            if key == "id" and value not in used:
                del element.attrib[key]
            elif key == "id":
                element.attrib[key] = f"{name}-{value}"
            else:
                element.attrib[key] = link.sub(rf"\g<1>{name}-\g<2>\g<3>", value)


def _describe(drawing: ElementTree.Element, figure: "Figure", label: str) -> None:
    width, height = (float(size) * POINTS_PER_INCH for size in figure.get_size_inches())
    drawing.tag = "svg"
    drawing.attrib = {
        "class": "drawing",
        "role": "img",
        "aria-label": label,
        "viewBox": f"0 0 {width:g} {height:g}",
        "style": f"max-width: {width * PIXELS_PER_POINT:g}px",
        "stroke-linejoin": "round",
        "xmlns": SVG,
    }
