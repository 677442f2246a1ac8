"""What the app's page computes without a browser: links, streams, bars, budgets, words."""

import re
import subprocess
from pathlib import Path

HERE = Path(__file__).resolve().parent
STATIC = HERE.parents[1] / "src" / "archaeology" / "app" / "static"


def test_page_modules_compute_what_they_say(node):
    command = [node, "--test", "--test-reporter=tap", str(HERE / "page_modules.mjs")]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert int(re.findall(r"^# pass (\d+)$", result.stdout, re.MULTILINE)[0]) >= 19


def test_page_has_nothing_inline_and_nobody_elses():
    page = (STATIC / "app.html").read_text(encoding="utf-8")
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son[a-z]+=|javascript:", page)
    for name in [*STATIC.glob("*.js"), *STATIC.glob("*.css"), STATIC / "app.html"]:
        text = name.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?://|@import|url\(\s*['\"]?//", text), name.name
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(", text), (
            name.name
        )


def test_every_module_that_is_asked_for_is_there():
    for module in STATIC.glob("*.js"):
        for wanted in re.findall(r'from "\./([a-z0-9_]+\.js)";', module.read_text(encoding="utf-8")):
            assert (STATIC / wanted).is_file(), f"{module.name} imports {wanted}"
    for wanted in re.findall(
        r'(?:src|href)="static/([^"]+)"', (STATIC / "app.html").read_text(encoding="utf-8")
    ):
        assert (STATIC / wanted).is_file(), f"app.html asks for {wanted}"
