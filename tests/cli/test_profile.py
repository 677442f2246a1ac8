"""`archaeology profile` as a user meets it: tables, one JSON document, an estimate, mistakes."""

import json

import pytest

from archaeology.cli import main as command_line
from archaeology.profiling import run as module
from archaeology.profiling.memory import Peak

SMALL = "timm:test_vit timm:test_resnet --image-sizes 32 --batch-sizes 1 2 --rounds 2 --no-tune-allocation --device cpu"


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path, monkeypatch):
    """Of its own, without starting the process that measures memory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(module, "can_measure_memory", lambda: True)
    monkeypatch.setattr(
        module,
        "peaks_in_child",
        lambda subject, batches, config: [Peak(batch, 2.0 * batch) for batch in batches],
    )


def test_the_command_is_listed():
    assert "profile" in command_line.COMMANDS


def test_measuring_prints_tables_and_writes_figures(run, tmp_path):
    patches = "--patch-sizes 8 16 --patch-model vit"
    code, out, err = run("profile", *SMALL.split(), *patches.split())
    assert code == 0 and "profiling takes about" in err
    assert "test_vit" in out and "test_resnet" in out and "multiply-add" in out
    assert "From patches of 16 to 8 pixels: 4.0 times the tokens" in out and "equal" in out
    tables = [line for line in out.splitlines() if line.startswith(("|", "+"))]
    assert tables and max(map(len, tables)) <= 100
    for name in ("profile_specimens", "profile_patch_size"):
        for kind in ("png", "svg"):
            path = tmp_path / "runs" / "profile" / f"{name}.{kind}"
            assert path.stat().st_size > 5000 and str(path.relative_to(tmp_path)) in out
    code, out, _ = run("profile", *SMALL.split(), *patches.split(), "--json")  # nothing is measured again
    document = json.loads(out)
    assert code == 0 and document["status"] == "complete"
    assert [profile["name"] for profile in document["profiles"]] == [
        "test_vit",
        "test_resnet",
        "vit, patch 8",
        "vit, patch 16",
    ]
    assert set(document["figures"]) == {"profile_specimens", "profile_patch_size"}


def test_an_estimate_measures_nothing_else(run, tmp_path):
    code, out, _ = run("profile", "--dry-run", *SMALL.split())
    assert code == 0 and out.startswith("about ")
    code, out, _ = run("profile", "--dry-run", "--json", *SMALL.split())
    assert code == 0 and json.loads(out)["seconds"] > 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("timm:resnet5",), "No timm model is called 'resnet5'; did you mean"),
        (("nowhere:resnet50",), "No model library is called 'nowhere'"),
        (("run:absent",), "there is no folder absent"),
        (("--patch-sizes", "7", "--patch-model", "vit"), "patch_size must divide image_size"),
        (("--batch-sizes", "64", "1"), "must be whole numbers from 1 on that grow"),
        (("--rounds", "1"), "greater than or equal to 2"),
        (("--device", "cuda:99"), "device 'cuda:99' is not available"),
        (("--patch-sizes", "4", "8", "--image-sizes", "32", "64"), "are compared on one image size"),
        (("--dtype", "float8"), "float8"),
    ],
)
def test_a_mistake_gets_one_message_and_exit_code_2(run, tmp_path, words, said):
    code, out, err = run("profile", *words)
    assert code == 2 and out == "" and "Traceback" not in err
    assert said in " ".join(err.replace("│", " ").split())
    assert list(tmp_path.iterdir()) == []
