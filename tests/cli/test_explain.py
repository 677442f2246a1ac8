"""`archaeology explain` as a user meets it: a table, files that repeat it, mistakes in one message."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from archaeology.cli import explain_image
from archaeology.cli.explain import JUDGES, METHODS
from archaeology.cli.explain_files import folders_for
from archaeology.cli.explain_image import class_number, explained, pixels_for, read_image
from archaeology.cli.main import COMMANDS, main
from archaeology.data.source import Sample
from archaeology.data.worlds import worlds
from archaeology.evaluate import judges, mark, trial_of
from archaeology.explain import explain_images, explanations
from archaeology.specimens.load import load

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "guides" / "explaining.md"
VIT, CNN = "bundled:vit_cue_conflict", "bundled:convnet_cue_conflict"


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path, monkeypatch):
    """With a picture in it, and fewer random maps."""
    pixels = worlds.get("cue_conflict")("conflict").get(3).image
    Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(tmp_path / "shape.png")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(explain_image, "NUM_FLOORS", 2)


def test_help_imports_no_torch():
    assert "explain" in COMMANDS
    words = "import sys; from archaeology.cli.main import main\n"
    words += "try: main(['explain', '--help'])\nexcept SystemExit: pass\n"
    done = subprocess.run(
        [sys.executable, "-c", words + "sys.exit('torch' in sys.modules)"], capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()


def test_names_of_defaults_exist():
    assert set(METHODS) <= set(explanations) and set(JUDGES) <= set(judges)


def test_a_table_a_figure_and_a_document_that_repeats_it(run, tmp_path):
    words = ("shape.png", "--model", VIT, "--methods", "raw_attention", "lrp", "--out", "found")
    code, out, _ = run("explain", *words)
    said = " ".join(out.replace("|", " ").split())
    assert code == 0 and "anecdote" in said and "archaeology dig" in said
    assert "says ring 93.0" in said and "the same for any class" in said
    assert all(
        word in said for word in ("relevance", "arriving", "chance (2 random maps)", "deletion", "insertion")
    )
    folder = tmp_path / "found"
    names = {path.name for path in folder.iterdir()}
    assert names == {f"explanation.{kind}" for kind in ("png", "svg", "npz", "json")}
    document = json.loads((folder / "explanation.json").read_text(encoding="utf-8"))
    model = document["models"][0]
    assert model["target"]["name"] == "ring" and model["is_answer"]
    specimen = load(model["spec"], device="cpu")
    with np.load(folder / document["maps"]) as kept:
        pixels = torch.from_numpy(kept[model["image"]])[None]
        target = torch.tensor([model["target"]["class"]])
        trial = trial_of(specimen, pixels, target, seed=document["provenance"]["seed"])
        for name, method in model["methods"].items():
            again = explain_images(name, specimen, pixels, target, **method["parameters"])
            assert again.formula == method["formula"]
            torch.testing.assert_close(again.heatmap[0].numpy(), kept[method["maps"]["heatmap"]])
            for judge, value in method["marks"].items():
                marks = mark(judge, trial, again, **model["judges"][judge]["parameters"])
                assert float(marks.score[0]) == pytest.approx(value, abs=1e-5)
        assert "attribution" in model["methods"]["lrp"]["maps"]


def test_two_models_as_one_document(run):
    words = ("shape.png", "--model", VIT, "--cnn", CNN, "--methods", "rollout", "grad_cam", "--json")
    code, out, _ = run("explain", *words, "--judges", "deletion", "--target", "0")
    (document,) = json.loads(out)["images"]
    vit, cnn = document["models"]
    assert code == 0 and document["files"][0] == "runs/explain/shape/explanation.png"
    assert set(vit["methods"]) == {"rollout", "grad_cam"} and set(cnn["methods"]) == {"grad_cam"}
    assert cnn["missing"] == {"rollout": f"it reads attention, and {CNN} has none."}
    assert vit["target"]["class"] == cnn["target"]["class"] == 0
    assert len(vit["judges"]["deletion"]["random_maps"]) == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("shap.png",), "there is no file shap.png; did you mean shape.png?"),
        (("nowhere/x.png",), "there is no file nowhere/x.png; look for a typing mistake"),
        (("notes.txt",), "notes.txt must be an image that can be decoded, but it is none of the kinds"),
        (("empty.png",), "but it is empty (0 bytes); name another file"),
        (
            ("folder",),
            "folder is a folder; name the images in it, or use archaeology dig --data folder:folder",
        ),
        (("--model", VIT), "IMAGE"),
        (
            ("shape.png", "--methods", "rolout"),
            "No explanation method is called 'rolout'; did you mean 'rollout'?",
        ),
        (
            ("shape.png", "--methods", "lrp", "shape.png"),
            "shape.png is a file; put image files before all options",
        ),
        (("shape.png", "--judges", "deletio"), "No judge is called 'deletio'; did you mean 'deletion'?"),
        (("shape.png", "--judges", "pointing_game"), "'pointing_game' must know where the object is"),
        (("shape.png", "--model", "bundled:vit_cifar"), "did you mean 'vit_cifar10'"),
        (
            ("shape.png", "--model", VIT, "--target", "rnig"),
            "is called 'rnig'; did you mean 'ring'? It has 8 classes",
        ),
        (
            ("shape.png", "--model", VIT, "--target", "8"),
            "is called '8'. It has 8 classes, numbered from 0: ",
        ),
        (
            ("shape.png", "--model", CNN, "--methods", "rollout"),
            f"rollout cannot explain {CNN}: it reads attention, and {CNN} has none. Without --methods",
        ),
    ],
)
def test_a_mistake_gets_one_message_and_exit_code_2(run, tmp_path, words, said):
    (tmp_path / "notes.txt").write_text("no picture", encoding="utf-8")
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    code, _, err = run("explain", *words)
    assert code == 2 and "Traceback" not in err
    assert said in " ".join(err.replace("│", " ").split()) and "skip" not in err
    assert not (tmp_path / "runs").exists()


def test_classes_are_found_by_name_by_plain_name_and_by_number():
    specimen = load(VIT, device="cpu")
    assert [class_number(specimen, word, 8) for word in ("ring", "Ring", "3")] == [
        specimen.classes.index("ring"),
        specimen.classes.index("ring"),
        3,
    ]


def test_a_map_without_evidence_says_so_in_the_table(run, monkeypatch):
    from archaeology.explain import Explanation

    def empty(name, trial):
        return Explanation(torch.zeros(1, 2, 2), name, formula="nothing", target=trial.target)

    monkeypatch.setattr(explain_image, "explanation_of", empty)
    code, out, _ = run("explain", "shape.png", "--model", VIT, "--methods", "grad_cam")
    row = next(line for line in out.splitlines() if "grad_cam" in line)
    assert code == 0 and "no positive evidence" in row and "0." not in row
    svg = Path("runs/explain/shape/explanation.svg").read_text(encoding="utf-8")
    assert "no positive evidence" in svg


def test_a_model_that_answers_nan_is_told(monkeypatch):
    specimen = load(VIT, device="cpu")
    with torch.no_grad():
        next(specimen.model.parameters()).fill_(torch.nan)
    pixels = pixels_for(read_image(Path("shape.png")), specimen)
    with pytest.raises(
        ValueError, match="must answer with finite numbers to be explained, but gives 8 logits"
    ):
        explained(specimen, pixels, methods=["lrp"], by=[])


def test_an_image_that_is_much_too_long_is_refused(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 5000)
    specimen = load(VIT, device="cpu")
    sample = Sample(torch.zeros(3, 2, 2000, dtype=torch.uint8), None)
    with pytest.raises(
        ValueError, match=r"must fit into the frame of .* 2x2000 pixels, so long and thin .*; cut it"
    ):
        pixels_for(sample, specimen)


def test_no_judge_is_allowed_and_said(run):
    code, out, _ = run("explain", "shape.png", "--model", VIT, "--methods", "raw_attention", "--judges")
    assert code == 0 and "No judge was asked" in out and "chance" not in out


def test_each_of_several_images_gets_a_folder_of_its_own():
    images = [Path("a/cat.png"), Path("b/cat.jpg"), Path("dog.png")]
    assert folders_for(images, Path("out")) == [Path("out") / name for name in ("cat", "cat-2", "dog")]
    assert folders_for(images[:1], None) == [Path("runs/explain/cat")]
    assert folders_for(images[:1], Path("out")) == [Path("out")]


def test_the_commands_of_the_guide_run(capsys, run):
    text = GUIDE.read_text(encoding="utf-8")
    for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        exec(block, {})
    commands = [
        line.partition("#")[0]
        for block in re.findall(r"```bash\n(.*?)```", text, re.DOTALL)
        for line in block.replace("\\\n", " ").splitlines()
    ]
    assert len(commands) > 2
    for command in commands:
        program, *words = shlex.split(command)
        assert program == "archaeology" and main(words) == 0, command
    capsys.readouterr()
