"""What is cited is in the bibliography, what is in the bibliography is cited, and keys say whose work it is."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
KEY = re.compile(r"`([a-z]+(?:18|19|20)\d\d[a-z]+)`")
ENTRY = re.compile(r"^@\w+\{([^,]+),\n(.*?)^\}", re.MULTILINE | re.DOTALL)


def entries() -> list[tuple[str, str]]:
    return ENTRY.findall((ROOT / "docs" / "references.bib").read_text(encoding="utf-8"))


def field(name: str, body: str) -> str:
    found = re.search(rf"^  {name}\s*=\s*\{{(.*?)\}},?$", body, re.MULTILINE | re.DOTALL)
    assert found, f"no {name} in {body}"
    return found[1]


def cited() -> dict[str, str]:
    """Every cited key with the file that cites it."""
    files = [
        path
        for folder, pattern in (("src", "*.py"), ("benchmarks", "*.py"), ("tests", "*.py"), ("docs", "*.md"))
        for path in (ROOT / folder).rglob(pattern)
    ]
    where = {}
    for path in [*files, ROOT / "README.md"]:
        where |= dict.fromkeys(KEY.findall(path.read_text(encoding="utf-8")), str(path.relative_to(ROOT)))
    return where


def test_every_cited_key_is_in_the_bibliography() -> None:
    known = {key for key, _ in entries()}
    where = cited()
    assert len(where) >= 15
    assert {key: path for key, path in where.items() if key not in known} == {}


def test_every_entry_is_cited_once_and_whole() -> None:
    keys = [key for key, _ in entries()]
    assert len(keys) == len(set(keys)) and keys == sorted(keys)
    assert set(keys) - set(cited()) == set()


def test_keys_name_the_first_author_and_the_year() -> None:
    for key, body in entries():
        surname = field("author", body).split(",")[0].split("-")[0].lower()
        assert key.startswith(surname + field("year", body)), key
        word = key.removeprefix(surname + field("year", body))
        about = (field("title", body) + body).lower()
        assert word in about, key
