"""`archaeology zoo` as a user meets it: a table, one JSON document, a measurement, a drawing, mistakes."""

import json
import os
import pty
import re
import subprocess
import sys

import pytest

from archaeology.attention import mechanisms
from archaeology.cli import zoo
from archaeology.zoo.memory import MemoryChild
from archaeology.zoo.subject import STEPS

TINY = "--lengths 16 24 --heads 2 --head-dim 4 --rounds 2 --draws 1 --no-tune-allocation --mechanisms performer".split()


def test_the_table_names_all_and_fits_100_columns_without_colours(run):
    code, out, err = run("zoo")
    assert code == 0 and err == ""
    for name in mechanisms:
        assert re.search(rf"^{name} ", out, re.MULTILINE), name
        assert mechanisms.get(name).facts.formula[:20] in out
    assert max(map(len, out.splitlines())) <= 100
    assert "\x1b" not in out and "Vaswani 2017" in out


def test_a_terminal_gets_colours_and_its_own_width():
    controller, terminal = pty.openpty()
    environment = os.environ | {"COLUMNS": "80", "TERM": "xterm-256color"}
    environment.pop("NO_COLOR", None)
    command = [
        sys.executable,
        "-c",
        "import sys; from archaeology.cli.main import main; sys.exit(main(['zoo']))",
    ]
    child = subprocess.Popen(command, stdout=terminal, stderr=subprocess.DEVNULL, env=environment)
    os.close(terminal)
    written = b""
    while True:
        try:
            part = os.read(controller, 65536)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        written += part
    assert child.wait() == 0
    os.close(controller)
    text = written.decode()
    assert "\x1b[1m" in text
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text)
    assert max(len(line.rstrip()) for line in plain.splitlines()) <= 80


def test_json_is_one_document_with_every_fact(run):
    code, out, _ = run("zoo", "--json", "--mechanisms", "softmax", "performer")
    found = json.loads(out)
    assert code == 0 and [entry["name"] for entry in found] == ["softmax", "performer"]
    assert found[0]["source"] == "vaswani2017attention" and found[0]["is_causal"] is True
    assert set(found[0]) >= {"formula", "time", "memory", "relation", "supports", "author", "year", "kind"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--mechanisms", "softmx"), "No attention mechanism is called 'softmx'; did you mean 'softmax'?"),
        (("--measure", "--mechanisms", "entmax"), "did you mean 'entmax15'?"),
        (("--measure", "--mechanisms", "latent"), "'latent' is a whole layer"),
        (("--measure", "--lengths", "512", "256"), "lengths must be whole numbers from 1 on that grow"),
        (("--measure", "--lengths", "0", "256"), "lengths must be whole numbers from 1 on that grow"),
        (("--lengths", "512"), "--lengths says how to measure, so it needs --measure as well"),
        (("--patterns", "p.png", "--rounds", "3"), "--rounds says how to measure"),
        (("--patterns", "p.jpeg"), "must be a file that ends in .png, .svg, .pdf, but got 'p.jpeg'"),
        (("--patterns", "p.png", "--mechanisms", "linea"), "did you mean 'linear'?"),
        (("--measure", "--rounds", "1"), "greater than or equal to 2"),
        (("--measure", "--score-stds", "0"), "greater than 0"),
    ],
)
def test_a_mistake_gets_one_message_and_exit_code_2(run, tmp_path, monkeypatch, words, said):
    monkeypatch.chdir(tmp_path)
    code, out, err = run("zoo", *words)
    assert code == 2 and out == "" and "Traceback" not in err
    assert said in " ".join(err.replace("│", " ").split())
    assert list(tmp_path.iterdir()) == []


def test_measuring_prints_tables_and_writes_figures(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(MemoryChild, "ask", lambda self, name, length: dict.fromkeys(STEPS, 2.0 * length))
    monkeypatch.setattr(zoo, "FIGURES", ("zoo_cost", "zoo_error"))
    code, out, err = run("zoo", "--measure", *TINY)
    assert code == 0
    assert "measuring takes about" in err
    assert "than dense attention" in out and "Time (ms)" in out and "mean of values" in out
    assert max(map(len, out.splitlines())) <= 180  # headlines are sentences; tables are narrower
    for name in ("zoo_cost", "zoo_error"):
        for kind in ("png", "svg"):
            path = tmp_path / "runs" / "zoo" / f"{name}.{kind}"
            assert path.stat().st_size > 5000 and str(path.relative_to(tmp_path)) in out
    code, out, _ = run("zoo", "--measure", "--json", *TINY)  # nothing is measured again
    document = json.loads(out)
    assert document["status"] == "complete" and len(document["sessions"]) == 1
    assert {cost["mechanism"] for cost in document["costs"]} == {"softmax", "performer"}
    assert set(document["figures"]) == {"zoo_cost", "zoo_error"}


def test_an_estimate_measures_nothing_else(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, _ = run("zoo", "--dry-run", *TINY)
    assert code == 0 and out.startswith("about ")
    code, out, _ = run("zoo", "--dry-run", "--json", *TINY)
    assert json.loads(out)["seconds"] > 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["png", "svg", "pdf"])
def test_patterns_are_drawn_to_the_file_asked_for(run, tmp_path, kind):
    path = tmp_path / "new" / f"patterns.{kind}"
    code, out, _ = run("zoo", "--patterns", str(path), "--mechanisms", "softmax")
    assert code == 0 and out.splitlines()[-1] == str(path)
    first = path.read_bytes()
    assert len(first) > 3000
    run("zoo", "--patterns", str(path), "--mechanisms", "softmax", "--json")
    assert path.read_bytes() == first
