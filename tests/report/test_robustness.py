"""The chapter on what breaks the models, in the content, on the page and in Markdown."""

import re
import sys
from pathlib import Path

import pytest

from archaeology.attacks import attacks
from archaeology.dig.directory import RunDirectory
from archaeology.report import write_report
from archaeology.report.attack_terms import ATTACKS, MEASURES, attack_term
from archaeology.report.content import report_of
from archaeology.report.markdown import plain
from archaeology.report.robustness import ROBUSTNESS_FIGURES, attacks_used, measures_used, robustness


class Broken(RunDirectory):
    """A run that has a survey of robustness and nothing else."""

    def __init__(self, document):
        self.__dict__["robustness"] = document


@pytest.fixture(scope="module")
def attacked_report(attacked_run):
    return report_of(RunDirectory(attacked_run))


@pytest.fixture(scope="module")
def attacked_text(attacked_run):
    return write_report(attacked_run).read_text(encoding="utf-8")


def test_a_run_without_a_survey_has_no_chapter(small_report):
    assert small_report.robustness is None and small_report.robustness_figures == ()
    assert "robustness" not in small_report.chapters
    assert small_report.methods.attacks == () and small_report.methods.measures == ()
    assert robustness(Broken(None)) is None and robustness(Broken({})) is None


def test_the_chapter_comes_after_the_pairs_with_every_figure(attacked_report):
    keys = list(attacked_report.chapters)
    assert keys.index("robustness") == keys.index("pairs") + 1
    assert [view.name for view in attacked_report.robustness_figures] == list(ROBUSTNESS_FIGURES)
    assert attacked_report.robustness.models == ("vit_cifar10", "convnet_cifar10", "vit_cifar10_robust")


def test_flags_come_first_and_are_sentences(attacked_report, attacked_text):
    (warning,) = attacked_report.robustness.warnings
    assert warning.model == "convnet_cifar10"
    assert warning.reasons == ("The gradient of the cross-entropy is exactly 0 for 31 of 40 images.",)
    chapter = attacked_text[attacked_text.index('id="robustness"') :]
    assert chapter.index("Gradients of convnet_cifar10 may be masked.") < chapter.index(
        "figure-robustness_curve"
    )
    said = attacked_report.robustness.unsuspected
    assert [line.split(":")[0] for line in said] == ["vit_cifar10", "vit_cifar10_robust", "vit_cifar10"]
    assert "(PGD, L2, 0.5)" in said[2]
    assert said[0] == (
        "vit_cifar10: 1 question asked on 40 images (PGD, L\u221e, 8/255), none answered by a sign of masked "
        "gradients. That is no proof that there is none."
    )


def test_what_could_not_be_measured_is_said_with_its_reason():
    document = {
        "specimens": [],
        "n": 7,
        "missing": {"shape": "all images are of one class", "my_part": "why not"},
    }
    found = robustness(Broken(document))
    assert found.missing == (("Shape share", "all images are of one class"), ("my part", "why not"))
    assert found.num_images == 7 and found.warnings == () and found.unsuspected == ()


def test_attacks_and_measures_are_explained_with_formula_parameters_and_source(
    attacked_report, attacked_text
):
    methods = attacked_report.methods
    assert [term.title for term in methods.attacks] == ["PGD", "Square"]
    assert methods.attacks[0].text.endswith("Here: steps 20.")
    assert len(methods.measures) == len(MEASURES)
    for words in (
        "Madry et al., 2018",
        "Andriushchenko et al., 2020",
        "Hendrycks and Dietterich, 2019",
        "Vig et al., 2020",
    ):
        assert words in attacked_text


def test_only_what_was_used_is_explained():
    document = {
        "curves": [{"attack": "fgsm", "curves": [{"parameters": {"steps": 3, "start": None, "loss": "a_b"}}]}]
    }
    ((term, parameters),) = attacks_used(document)
    assert (term.title, parameters) == ("FGSM", "Here: steps 3, loss a b.")
    assert [term.title for term in measures_used(document)] == ["Accuracy against size"]
    assert [term.title for term, _ in attacks_used({"carriers": {"a": {}}})] == ["PGD"]
    assert attacks_used({}) == () and measures_used({}) == ()


def test_every_attack_and_every_part_of_a_survey_has_words():
    from archaeology.robustness.survey import chosen_parts

    assert set(ATTACKS) >= set(attacks.names())
    assert set(MEASURES) >= set(chosen_parts(())) - {"pictures"}
    assert attack_term("my_attack").title == "my attack"
    for term in (*map(attack_term, ATTACKS), *MEASURES.values()):
        assert term.text.endswith(".") and term.formula and term.source


def test_a_survey_may_lack_any_part(made_up_survey, made_up, tmp_path):
    document = made_up_survey.made_up_document()
    run = RunDirectory(made_up.write_run(tmp_path / "run", made_up.Plan(full_attention=False, num_images=60)))
    run.__dict__["robustness"] = {key: document[key] for key in ("specimens", "n", "patches", "missing")}
    report = report_of(run)
    assert [view.name for view in report.robustness_figures] == ["patch_drop"]
    assert report.robustness.warnings == ()


def test_markdown_has_the_chapter(attacked_run, attacked_report, attacked_text):
    text = (attacked_run / "report.md").read_text(encoding="utf-8")
    assert "## What breaks them" in text
    assert r"- **Gradients of convnet\_cifar10 may be masked.** The gradient of" in text
    for view in attacked_report.robustness_figures:
        assert f"### {plain(view.title)}" in text
        assert plain(view.headline) in text


def test_findings_lead_to_figures_and_to_the_chapter(attacked_run):
    run = RunDirectory(attacked_run)
    for evidence, anchor in (("corruptions", "figure-corruptions"), ("robustness", "robustness")):
        run.__dict__["results"] = run.results | {
            "findings": [{"title": "T", "text": "t", "evidence": evidence, "strength": 2.0}]
        }
        assert [found.anchor for found in report_of(run).findings] == [anchor]


def test_names_of_models_are_text(made_up, made_up_survey, tmp_path):
    from archaeology.core.storage import write_json

    evil = "<script>alert(1)</script>"
    folder = made_up.write_run(tmp_path / "run", made_up.Plan(full_attention=False, num_images=60))
    document = made_up_survey.made_up_document(cnn=evil)
    document["gradients"][evil]["flags"] = [evil]
    document["missing"] = {evil: evil}
    write_json(folder / "robustness.json", document)
    text = write_report(folder).read_text(encoding="utf-8")
    assert evil not in text
    prose = [
        line
        for line in (folder / "report.md").read_text(encoding="utf-8").splitlines()
        if not line.startswith("    ")
    ]
    assert "<" not in "".join(prose)


def test_every_colour_of_the_theme_is_one_of_the_page_in_light_and_dark():
    from archaeology.figures._theme import COLOURS

    style = (Path(sys.modules["archaeology.report"].__file__).parent / "templates" / "report.css").read_text(
        encoding="utf-8"
    )
    for name, colour in COLOURS.items():
        found = re.findall(rf"--{name}: (#[0-9a-f]{{6}});", style)
        assert len(found) == 3 and found[0] == colour and found[1] == found[2], name
