"""The documents say what the files say: numbers are generated, names exist, links arrive."""

import importlib.util
import json
import re
from pathlib import Path

import archaeology as arc

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def generator():
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_readme_holds_the_generated_table():
    assert generator().with_specimens(README) == README, "run: python docs/generate.py"


def test_the_page_of_the_zoo_is_as_generated():
    page = (ROOT / "docs" / "zoo.md").read_text(encoding="utf-8")
    assert generator().zoo_page() == page, "run: python docs/generate.py"


def test_the_page_of_the_worlds_is_as_generated():
    page = (ROOT / "docs" / "worlds.md").read_text(encoding="utf-8")
    assert generator().worlds_page() == page, "run: python docs/generate.py"


def test_the_page_of_the_trainings_is_as_generated():
    page = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    assert generator().training_page() == page, "run: python docs/generate.py"


def test_every_kept_run_keeps_its_promise():
    from archaeology.recipes import recipes

    files = sorted((ROOT / "docs" / "results" / "worlds").glob("*.json"))
    assert len(files) > 20
    for file in files:
        document = json.loads(file.read_text(encoding="utf-8"))
        promise = recipes.get(document["recipe"])().promise
        for run in document["runs"]:
            assert promise.holds(run["scores"][promise.score]["value"]), (file.stem, run["seed"])


def test_every_python_name_in_the_readme_exists():
    used = set(re.findall(r"\barc\.(\w+)", README))
    assert len(used) >= 10
    for name in used:
        assert hasattr(arc, name), name


def test_every_local_link_arrives():
    for document in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", document.read_text(encoding="utf-8")):
            if "://" not in target:
                assert (document.parent / target).exists(), f"{document.name}: {target}"


def test_make_targets_named_in_the_readme_exist():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in set(re.findall(r"`make ([a-z-]+)`", README)) | {"venv", "dig", "test", "check", "bench"}:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
