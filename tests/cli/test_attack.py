"""`archaeology attack`: from words to curves and figures, going on where it was stopped, and what it refuses."""

import json

import pytest
from tests.dig.conftest import CNN, VIT, save

from archaeology.cli import attack_survey
from archaeology.cli.attack import size_of
from archaeology.cli.main import main


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    return save(folder / "vit", "vit", VIT), save(folder / "cnn", "convnet", CNN)


WORDS = ("--data", "cue_conflict", "--images", "6", "--epsilons", "8/255", "0.2", "--parts", "curves")


def test_curves_are_printed_drawn_kept_and_found_again(models, tmp_path, capsys, monkeypatch):
    out = tmp_path / "out"
    words = ("attack", *models, *WORDS, "--out", str(out))
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "8/255" in said and "upper bound" in said
    for name in ("robustness_curve.png", "robustness_curve.svg", "robustness.json"):
        assert (out / name).is_file() and str(out / name) in said
    document = json.loads((out / "robustness.json").read_text())
    assert [one["name"] for one in document["specimens"]] == list(models)
    assert document["curves"][0]["curves"][0]["n"] == 6
    assert document["settings"]["attacks"] == ["pgd"] and document["provenance"]["seed"] == 0

    def never(*_, **__):
        raise AssertionError("this part was finished")

    monkeypatch.setattr("archaeology.robustness.survey_parts.robustness_curves", never)
    assert main((*words, "--json")) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["curves"] == document["curves"]


def test_sizes_are_fractions_or_numbers():
    assert size_of("8/255") == 8 / 255 and size_of("0.5") == 0.5
    with pytest.raises(ValueError, match=r"must look like 0.03 or 8/255, but got 'eight'"):
        size_of("eight")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--data", "cue_conflict"), "SPECIMEN must be at least one model"),
        (("MODEL", "--data", "cue_conflict", "--attacks", "pdg"), "did you mean 'pgd'"),
        (("MODEL", "--data", "cue_conflict", "--parts", "curve"), "did you mean 'curves'"),
        (("MODEL", *WORDS[:4], "--epsilons", "8"), "did you mean 8/255"),
        (("MODEL", *WORDS[:4], "--epsilons", "2/255", "1/255"), "epsilons must ascend"),
        (("MODEL", *WORDS[:4], "--norm", "l7"), "No norm is called 'l7'"),
    ],
)
def test_mistakes_are_named(models, tmp_path, capsys, words, message):
    named = [models[1] if word == "MODEL" else word for word in words]
    assert main(("attack", *named, "--out", str(tmp_path / "out"))) == 2
    assert message in capsys.readouterr().err


def test_images_without_labels_or_of_unknown_classes_are_refused(models):
    specimen = attack_survey.load(models[1], device="cpu")
    with pytest.raises(ValueError, match="every image needs a label"):
        attack_survey.in_order(specimen, ("circle",), attack_survey.np.array([-1]))
    with pytest.raises(ValueError, match="classes of the data are unknown to the model"):
        attack_survey.in_order(specimen, ("cat",), attack_survey.np.array([0]))
