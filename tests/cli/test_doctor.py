"""The doctor finds what is broken, says how to mend it, and stays on its feet."""

import json

import pytest

from archaeology.cli import doctor, doctor_installation
from archaeology.cli.main import main


def test_a_healthy_installation_has_nothing_bad(capsys):
    assert main(["doctor", "--json"]) == 0
    findings = json.loads(capsys.readouterr().out)
    assert findings["healthy"]
    assert {"python", "torch", "device", "cache"} <= {finding["what"] for finding in findings["findings"]}
    assert [f for f in findings["findings"] if f["what"].startswith("bundled:")]


def test_a_package_that_cannot_be_imported_is_bad_and_has_a_remedy(monkeypatch):
    monkeypatch.setattr(doctor_installation, "NEEDED", ("no_such_package", "json"))
    monkeypatch.setattr(doctor_installation.metadata, "version", lambda package: "1")
    found = {finding.what: finding for finding in doctor_installation.needed_packages()}
    assert found["no_such_package"].verdict == "bad"
    assert "No module named 'no_such_package'" in found["no_such_package"].text
    assert "pip install" in found["no_such_package"].remedy
    assert found["json"].verdict == "good"


def test_a_missing_extra_is_a_note_only(monkeypatch):
    monkeypatch.setattr(doctor_installation, "EXTRAS", {"no_such_package": "hub"})
    (finding,) = doctor_installation.optional_packages()
    assert finding.verdict == "note" and "attention-archaeology[hub]" in finding.remedy


def test_a_cache_that_cannot_be_written_names_the_variable(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("ARCHAEOLOGY_CACHE", str(tmp_path / "file" / "cache"))
    (finding,) = doctor_installation.cache()
    assert finding.verdict == "bad" and "ARCHAEOLOGY_CACHE" in finding.remedy


def test_a_check_that_breaks_is_itself_a_finding_and_the_exit_code_is_1(monkeypatch, capsys):
    def broken_organ():
        raise RuntimeError("it hurts")
        yield

    monkeypatch.setattr(doctor_installation, "CHECKS", (broken_organ,))
    assert main(["doctor"]) == 1
    out = capsys.readouterr().out
    assert "BAD  broken organ: RuntimeError: it hurts" in out and "Something is wrong" in out


@pytest.mark.parametrize("verdict", ["good", "note", "bad"])
def test_every_verdict_has_a_mark(verdict):
    assert doctor.MARKS[verdict]


def test_a_training_is_looked_at_and_the_exit_code_says_whether_it_went_wrong(tmp_path, capsys):
    lines = [
        {"step": step, "loss": loss, "rate": 1.0, "progress": step / 4} for step, loss in ((1, 2.0), (2, 1.0))
    ]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert main(["doctor", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "2 steps, it is still running" in out and "Nothing went wrong." in out
    failure = {"kind": "non_finite", "step": 3, "loss": None, "learning_rate": 0.5, "gradient_norm": 7.0}
    (tmp_path / "failure.json").write_text(json.dumps(failure))
    assert main(["doctor", str(tmp_path)]) == 1
    out = capsys.readouterr().out
    assert "BAD  divergence: the loss was not finite at step 3 (learning rate 0.5, gradient norm 7" in out
    assert "to mend it: lower the learning rate" in out
    assert main(["doctor", str(tmp_path), "--json"]) == 1
    said = json.loads(capsys.readouterr().out)
    assert (said["state"], said["healthy"], said["findings"][0]["name"]) == ("broken", False, "divergence")


def test_what_is_no_training_is_refused_with_a_way_out(tmp_path, capsys):
    assert main(["doctor", str(tmp_path)]) == 2
    assert "archaeology train RECIPE --out" in capsys.readouterr().err
    assert main(["doctor", "--data", "cifar10"]) == 2
    assert "archaeology doctor RUN --data SPEC" in capsys.readouterr().err
