"""The doctor finds what is broken, says how to mend it, and stays on its feet."""

import json

import pytest

from archaeology.cli import doctor
from archaeology.cli.main import main


def test_a_healthy_installation_has_nothing_bad(capsys):
    assert main(["doctor", "--json"]) == 0
    findings = json.loads(capsys.readouterr().out)
    assert findings["healthy"]
    assert {"python", "torch", "device", "cache"} <= {finding["what"] for finding in findings["findings"]}
    assert [f for f in findings["findings"] if f["what"].startswith("bundled:")]


def test_a_package_that_cannot_be_imported_is_bad_and_has_a_remedy(monkeypatch):
    monkeypatch.setattr(doctor, "NEEDED", ("no_such_package", "json"))
    monkeypatch.setattr(doctor.metadata, "version", lambda package: "1")
    found = {finding.what: finding for finding in doctor.needed_packages()}
    assert found["no_such_package"].verdict == "bad"
    assert "No module named 'no_such_package'" in found["no_such_package"].text
    assert "pip install" in found["no_such_package"].remedy
    assert found["json"].verdict == "good"


def test_a_missing_extra_is_a_note_only(monkeypatch):
    monkeypatch.setattr(doctor, "EXTRAS", {"no_such_package": "hub"})
    (finding,) = doctor.optional_packages()
    assert finding.verdict == "note" and "attention-archaeology[hub]" in finding.remedy


def test_a_cache_that_cannot_be_written_names_the_variable(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("ARCHAEOLOGY_CACHE", str(tmp_path / "file" / "cache"))
    (finding,) = doctor.cache()
    assert finding.verdict == "bad" and "ARCHAEOLOGY_CACHE" in finding.remedy


def test_a_check_that_breaks_is_itself_a_finding_and_the_exit_code_is_1(monkeypatch, capsys):
    def broken_organ():
        raise RuntimeError("it hurts")
        yield

    monkeypatch.setattr(doctor, "CHECKS", (broken_organ,))
    assert main(["doctor"]) == 1
    out = capsys.readouterr().out
    assert "BAD  broken organ: RuntimeError: it hurts" in out and "Something is wrong" in out


@pytest.mark.parametrize("verdict", ["good", "note", "bad"])
def test_every_verdict_has_a_mark(verdict):
    assert doctor.MARKS[verdict]
