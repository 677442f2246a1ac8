"""An image of `cue_conflict` in words: texture, shape and place, as a caption for models of vision and language."""

TEXTURE_WORDS = {
    "stripes": "striped",
    "zigzag": "zigzag",
    "checker": "checkered",
    "dots": "dotted",
    "rings": "ringed",
    "rays": "rayed",
    "gradient": "shaded",
    "blotches": "blotchy",
}
EDGES = (0.45, 0.55)  # shares of the side between which an object counts as in the middle


def caption(shape: str, texture: str, x: float, y: float) -> str:
    """For example "a striped triangle, upper left".

    Args:
        shape: A name of `CueConflict.classes`.
        texture: A name of `CueConflict.textures`.
        x: Of the object's middle, as a share of the width from the left.
        y: Likewise of the height, from the top.
    """
    return f"a {TEXTURE_WORDS[texture]} {shape}, {place(x, y)}"


def place(x: float, y: float) -> str:
    """Where a point lies, in words: one of nine places from "upper left" over "centre" to "lower right"."""
    column = "left" if x < EDGES[0] else "right" if x > EDGES[1] else ""
    row = "upper" if y < EDGES[0] else "lower" if y > EDGES[1] else ""
    if row and column:
        return f"{row} {column}"
    return column or {"upper": "top", "lower": "bottom"}.get(row, "centre")
