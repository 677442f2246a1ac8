"""The command line as a user meets it: quick help, one clear message for every mistake, exit codes."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from archaeology.cli.main import COMMANDS


def test_help_names_every_command(run):
    code, out, _ = run("--help")
    assert code == 0
    assert all(f"  {name}" in out for name in COMMANDS)


def test_no_command_is_a_mistake_but_shows_the_help(run):
    code, out, _ = run()
    assert code == 2 and "usage: archaeology COMMAND" in out


@pytest.mark.parametrize(
    "words", [("--help",), ("dig", "--help"), ("train", "--help"), ("zoo", "--help"), ("list", "--help")]
)
def test_help_is_quick_and_imports_no_torch(words):
    command = (
        f"import sys; from archaeology.cli.main import main\ntry: main({words!r})\nexcept SystemExit: pass\n"
    )
    times = []
    for _ in range(3):
        started = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", command + "sys.exit('torch' in sys.modules)"],
            capture_output=True,
            check=False,
        )
        times.append(time.perf_counter() - started)
        assert done.returncode == 0, done.stderr.decode()
    if words == ("--help",):
        assert min(times) < 0.5


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("digg",), "No command is called 'digg'; did you mean 'dig'?"),
        (("train", "vit_cifar"), "No recipe is called 'vit_cifar'; did you mean 'vit_cifar10'?"),
        (("train", "vit_cifar10", "--budget", "soon"), "--budget: "),
        (("list", "recipe"), "did you mean 'recipes'?"),
        (("report", "nowhere"), "there is no folder nowhere"),
        (("dig", "--vit", "vit_base_patch16_224"), "timm:vit_base_patch16_224"),
        (("dig", "--vit", "bundled:vit_cifar"), "did you mean 'vit_cifar10'"),
        (("dig", "--data", "folder:nowhere"), "nowhere"),
        (("dig", "--data", "cue_conflict", "--split", "conflicts"), "did you mean 'conflict'?"),
        (("dig", "--device", "gpu"), "device must be auto, cpu, cuda, cuda:N or mps, but got 'gpu'"),
        (("dig", "--vit", "bundled:convnet_cue_conflict"), "vit must be a transformer"),
        (("train", "vit_cifar10", "--data", "parquet:nowhere"), "nowhere"),
        (("train", "vit_cue_conflict", "--data", "folder:x"), "--data must be left out, but got 'folder:x'"),
    ],
)
def test_a_mistake_gets_one_message_and_exit_code_2(run, tmp_path, monkeypatch, words, said):
    monkeypatch.chdir(tmp_path)
    code, out, err = run(*words)
    assert code == 2
    assert said in err
    assert "Traceback" not in err and out == ""


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("dig", "--imags", "3"), "--images"),
        (("dig", "--images", "none"), "--images"),
        (("dig", "--images", "0"), "greater than or equal to 1"),
        (("train",), "required"),
    ],
)
def test_words_that_do_not_fit_are_explained_by_tyro(run, words, said):
    code, out, err = run(*words)
    assert code == 2
    assert said in out + err


def test_list_as_json_is_one_document(run):
    code, out, _ = run("list", "--json")
    listed = json.loads(out)
    assert code == 0
    kinds = {"specimens", "recipes", "models", "worlds", "data", "explanations", "judges", "figures"}
    kinds |= {"attacks", "robustness", "corruptions"}
    assert set(listed) == kinds and {"shapes1d", "shapes2d", "cue_conflict"} == set(listed["worlds"])
    assert {"vit_cifar10", "convnet_cifar10", "vit_cue_conflict", "convnet_cue_conflict"} <= set(
        listed["recipes"]
    )
    assert all(isinstance(summary, str) and summary for kind in listed.values() for summary in kind.values())


def test_version(run):
    code, out, _ = run("--version")
    assert code == 0 and out.startswith("archaeology ")


def test_every_command_has_a_module():
    folder = Path(sys.modules["archaeology.cli.main"].__file__).parent
    assert all((folder / f"{name.replace('-', '_')}.py").is_file() for name in COMMANDS)
