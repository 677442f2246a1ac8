"""Write the references that a report resolves, from docs/references.bib: `python docs/report_references.py`.

The wheel has no docs folder, so the report carries what its methods chapter may cite as a small JSON file; a test
checks that it is what this script would write.
"""

import json
import re
import unicodedata
from pathlib import Path

from archaeology.figures.terms import JUDGES, METHODS
from archaeology.report.attack_terms import ATTACKS, MEASURES
from archaeology.report.dissection import TERMS as FAILURES
from archaeology.report.references import STATISTICS, keys_of
from archaeology.report.representation import TERMS as LAYERS

ROOT = Path(__file__).resolve().parents[1]
BIBLIOGRAPHY = ROOT / "docs" / "references.bib"
TARGET = ROOT / "src" / "archaeology" / "report" / "references.json"
ENTRY = re.compile(r"^@\w+\{([^,]+),\n(.*?)^\}", re.MULTILINE | re.DOTALL)
ACCENT = re.compile(r"\{?\\(['\"`^~=.vcH])\s*\{?(\\?[A-Za-z])\}?\}?")
MARKS = {"'": "\u0301", '"': "\u0308", "`": "\u0300", "^": "\u0302", "~": "\u0303", "=": "\u0304"}
MARKS |= {".": "\u0307", "v": "\u030c", "c": "\u0327", "H": "\u030b"}
MOST_AUTHORS = 3
# Others of the same first author and year, which no report cites.
NOT_MEANT = {"chen2021empirical", "wang2020linformer", "zhang2018mixup", "chefer2021transformer"}


def sources() -> list[str]:
    """What the methods chapter names as whose idea a thing is."""
    terms = [
        term.source for table in (METHODS, JUDGES, MEASURES, FAILURES, LAYERS) for term in table.values()
    ]
    return [*terms, *(source for _, _, source in ATTACKS.values())]


def references() -> dict[str, str]:
    """What a report may cite as one readable line each, by its key."""
    bodies = dict(ENTRY.findall(BIBLIOGRAPHY.read_text(encoding="utf-8")))
    cited = {key for source in sources() for key in keys_of(source, bodies)} - NOT_MEANT
    return {key: line(bodies[key]) for key in sorted({*cited, *STATISTICS})}


def line(body: str) -> str:
    """Authors (year). Title. Where it appeared."""
    people = [person.strip() for person in field("author", body).split(" and ")]
    named = [short(person) for person in people[:MOST_AUTHORS]] + (["et al."] * (len(people) > MOST_AUTHORS))
    authors = (
        named[0]
        if len(named) == 1
        else ", ".join(named[:-1]) + (f", {named[-1]}" if named[-1] == "et al." else f" and {named[-1]}")
    )
    venue = next(
        (
            found
            for name in ("journal", "booktitle", "publisher", "howpublished")
            if (found := field(name, body))
        ),
        "",
    )
    volume = field("volume", body)
    place = f"{venue} {volume}".strip() if field("journal", body) else venue
    return " ".join(
        f"{authors} ({field('year', body)}). {field('title', body)}. {place}{'.' if place else ''}".split()
    )


def field(name: str, body: str) -> str:
    """A field without TeX; empty where there is none."""
    found = re.search(rf"^\s*{name}\s*=\s*[{{\"](.*?)[}}\"],?\s*$", body, re.MULTILINE | re.DOTALL)
    return plain(found[1]) if found else ""


def plain(text: str) -> str:
    """Text without TeX's accents, braces and dashes."""
    text = ACCENT.sub(lambda found: found[2].removeprefix("\\") + MARKS[found[1]], text)
    text = (
        text.replace("\\ss", "ß")
        .replace("\\o", "ø")
        .replace("\\l", "ł")
        .replace("\\L", "Ł")
        .replace("\\%", "%")
        .replace("---", "\N{EN DASH}")
        .replace("--", "\N{EN DASH}")
    )
    text = re.sub(r"[{}]", "", text).replace("\\&", "&").replace("~", " ")
    return unicodedata.normalize("NFC", " ".join(text.split()))


def short(person: str) -> str:
    """Surname and first letters, as in "Abnar, S."; names without a comma stay."""
    surname, _, given = person.partition(", ")
    letters = [part[0] + "." for part in given.replace("-", " ").split() if part]
    return f"{surname}, {' '.join(letters)}" if letters else surname


def text() -> str:
    """The file."""
    return json.dumps(references(), indent=1, ensure_ascii=False, sort_keys=True) + "\n"


if __name__ == "__main__":
    TARGET.write_text(text(), encoding="utf-8")
    print(TARGET)
