"""Write the generated parts of the documents; a test compares them, so that no number is typed by hand.

Run `python docs/generate.py` after a specimen was trained or a benchmark was run.
"""

import json
from pathlib import Path

from archaeology.zoo.table import RELATIONS, SYMBOLS, entries, markdown_table

ROOT = Path(__file__).resolve().parents[1]
BUNDLED = ROOT / "src" / "archaeology" / "specimens" / "bundled"
BEGIN, END = "<!-- specimens:begin -->", "<!-- specimens:end -->"


def specimen_table() -> str:
    """One row for each bundled specimen, from the `config.json` beside its weights."""
    lines = [
        "| specimen | test images | accuracy | 95 % interval | epochs | size |",
        "|---|---|---|---|---|---|",
    ]
    for folder in sorted(path.parent for path in BUNDLED.glob("*/config.json")):
        facts = json.loads((folder / "config.json").read_text(encoding="utf-8"))["facts"]
        reached, size = facts["test_accuracy"], (folder / "model.safetensors").stat().st_size
        lines.append(
            f"| `bundled:{folder.name}` | {facts['data']['test'].rsplit('/')[-1]} | {100 * reached['value']:.2f} % | "
            f"{100 * reached['low']:.2f} to {100 * reached['high']:.2f} % | {facts['epochs']:g} | {size / 1e6:.2f} MB |"
        )
    return "\n".join(lines)


def with_specimens(readme: str) -> str:
    """The README with the table between its marks."""
    before, rest = readme.split(BEGIN)
    after = rest.split(END)[1]
    return f"{before}{BEGIN}\n{specimen_table()}\n{END}{after}"


def zoo_page() -> str:
    """Every attention mechanism with what it says of itself."""
    relations = "\n".join(f"- **{name}**: {meaning}" for name, meaning in RELATIONS.items())
    return f"""# The attention zoo

Generated from what each mechanism says of itself; `archaeology zoo` prints the same,
`archaeology zoo --patterns FILE.png` draws who looks at whom in each, `archaeology zoo --measure` times them on your
machine and draws cost against length and error against cost. A mechanism is used by name,
`MultiHeadAttention(64, 4, mechanism="sliding_window")`; a layer owns its projections and is used by its class.

{SYMBOLS}.

{markdown_table(entries())}

How each relates to softmax attention:

{relations}

Sources are keys of [references.bib](references.bib).
"""


def main() -> None:
    """Rewrite the README and the page of the zoo in place."""
    readme = ROOT / "README.md"
    readme.write_text(with_specimens(readme.read_text(encoding="utf-8")), encoding="utf-8")
    (ROOT / "docs" / "zoo.md").write_text(zoo_page(), encoding="utf-8")


if __name__ == "__main__":
    main()
