"""Write matplotlib's colour tables into the explorer's `colours.js`.

Run `python docs/colours.py`; `tests/browser/test_colours.py` asks that the module holds what this writes.
"""

import base64
import re

import numpy as np
from generate import ROOT
from matplotlib import colormaps

MODULE = ROOT / "src" / "archaeology" / "explorer" / "static" / "colours.js"
TABLES = ("viridis", "cividis", "magma", "RdBu_r")


def encoded(name: str) -> str:
    """The 256 colours of a map, three bytes each, in base64 without characters that end a word for a spell checker."""
    colours = np.asarray(colormaps[name](np.arange(256), bytes=True))[:, :3]
    return base64.urlsafe_b64encode(np.ascontiguousarray(colours).tobytes()).decode("ascii")


def written(text: str) -> str:
    """The module's text with every table as matplotlib has it."""
    for name in TABLES:
        text, found = re.subn(
            rf'(decodedTable\(")[^"]*("\); // {name}$)', rf"\g<1>{encoded(name)}\g<2>", text, flags=re.M
        )
        if found != 1:
            raise SystemExit(
                f"{MODULE} must name {name} once, but names it {found} times; mend its comments."
            )
    return text


if __name__ == "__main__":
    MODULE.write_text(written(MODULE.read_text(encoding="utf-8")), encoding="utf-8")
