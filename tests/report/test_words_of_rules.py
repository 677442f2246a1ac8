"""No adjective without a threshold: words of degree stand in no sentence that rules write, save as values of a name."""

import ast
import re
from pathlib import Path

import pytest

import archaeology

SOURCE = Path(archaeology.__file__).parent
RULES = sorted([*(SOURCE / "dig").glob("*find*.py"), *(SOURCE / "report").glob("*.py")])
DEGREES = (
    "much|very|surely|clearly|obviously|strong|strongly|striking|strikingly|huge|tiny|hardly|barely|slightly|nearly|"
    "mostly|remarkable|remarkably|considerable|considerably|substantial|substantially|dramatic|dramatically"
)
WORD = re.compile(rf"\b({DEGREES})\b", re.IGNORECASE)
NOT_RULES = {"attack_terms.py"}  # what methods do, the same for every run


def sentences(tree):
    """Texts of a module with their lines, without docstrings and values of named constants."""
    left_out = set()
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and isinstance(body[0], ast.Expr):
            left_out.add(id(body[0].value))
        if isinstance(node, ast.Assign) and all(getattr(one, "id", "").isupper() for one in node.targets):
            left_out |= {id(one) for one in ast.walk(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in left_out:
            yield node.lineno, node.value


@pytest.mark.parametrize(
    "path", [path for path in RULES if path.name not in NOT_RULES], ids=lambda path: path.name
)
def test_no_word_of_degree_without_a_threshold(path):
    found = [
        (line, text)
        for line, text in sentences(ast.parse(path.read_text(encoding="utf-8")))
        if WORD.search(text)
    ]
    assert found == []


def test_the_scan_finds_what_it_is_for():
    tree = ast.parse(
        '"""very"""\nWORDS = ("much",)\ndef f(x):\n    """surely"""\n    return f"{x} is strongly so"\n'
    )
    assert [line for line, text in sentences(tree) if WORD.search(text)] == [5]
