"""The explorer's JavaScript: modules that the bundle can join, and their functions run by Node."""

import re
import subprocess
from collections import Counter
from pathlib import Path

import pytest

STATIC = Path(__file__).resolve().parents[2] / "src" / "archaeology" / "explorer" / "static"
MODULES = sorted(STATIC.glob("*.js"))
IMPORT = re.compile(r'^import \{ \w+(, \w+)* \} from "\./\w+\.js";$')
TOP = re.compile(r"^(?:export )?(?:async )?(?:function|class|const|let)\*? +(\w+)")


def test_functions_in_node(node):
    done = subprocess.run(
        [node, "--test", str(Path(__file__).with_name("modules.test.mjs"))],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.stem)
def test_imports_and_exports_have_the_one_form_that_is_bundled(module):
    for line in module.read_text(encoding="utf-8").splitlines():
        if line.startswith("import"):
            assert IMPORT.match(line), line
            assert (STATIC / line.rsplit("/", 1)[1].removesuffix('";')).is_file(), line
        if line.startswith("export"):
            assert re.match(r"export (async )?(function|const|class) \w+", line), line


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.stem)
def test_text_stays_text(module):
    text = module.read_text(encoding="utf-8")
    for danger in (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "new Function",
        "http:",
    ):
        found = text.replace("http://www.w3.org/", "")  # a namespace is a name, not an address
        assert danger not in found, f"{module.name} has {danger}"


def test_top_level_names_are_unique():
    names = Counter()
    for module in MODULES:
        names.update(
            found[1] for line in module.read_text(encoding="utf-8").splitlines() if (found := TOP.match(line))
        )
    assert [name for name, count in names.items() if count > 1] == []


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.stem)
def test_a_class_has_each_method_once(module):
    text = module.read_text(encoding="utf-8")
    for body in re.split(r"^(?:export )?class ", text, flags=re.M)[1:]:
        names = Counter(
            re.findall(r"^  (?:(?:async|static) )*((?:[gs]et )?\w+)\(.*\) \{", body.split("\n}\n")[0], re.M)
        )
        assert [name for name, count in names.items() if count > 1] == []


def test_imported_names_exist():
    exported = {
        module.name: set(
            re.findall(
                r"^export (?:async )?(?:function|const|class) (\w+)", module.read_text(encoding="utf-8"), re.M
            )
        )
        for module in MODULES
    }
    for module in MODULES:
        for names, source in re.findall(
            r'^import \{ ([\w, ]+) \} from "\./([\w.]+)";$', module.read_text(encoding="utf-8"), re.M
        ):
            assert set(names.split(", ")) <= exported[source], f"{module.name} from {source}"
