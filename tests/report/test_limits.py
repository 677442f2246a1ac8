"""What a report cannot say, where a finding stands, which references it lists: written by rules from the numbers."""

import importlib.util
from pathlib import Path

import pytest

from archaeology.dig.directory import RunDirectory
from archaeology.figures.terms import JUDGES, METHODS
from archaeology.report.attack_terms import ATTACKS, MEASURES
from archaeology.report.failures import failures
from archaeology.report.found import found_view, number_words
from archaeology.report.limits import FEW, limits
from archaeology.report.references import CITED, STATISTICS, bibliography, keys_of, references

ROOT = Path(__file__).resolve().parents[2]


def spaced(text):
    return text.replace("\u202f", " ").replace("\u00a0", " ")


def with_results(folder, **changes):
    run = RunDirectory(folder)
    run.__dict__["results"] = run.results | changes
    return run


def test_limits_say_n_seeds_choices_and_what_to_doubt(small_run):
    said = dict(limits(RunDirectory(small_run)).lines)
    assert spaced(said["How many images"]).startswith(
        "200 images of cifar10, so a share of them is known to about ±"
    )
    assert "all draws from seed 0" in said["One model of each kind"]
    assert (
        "that of the ViT (Relevance) won a leaderboard; that of the CNN (Grad-CAM) is the default"
        in said["Chosen methods"]
    )
    assert "Stay alike when all weights are shuffled" in said["Maps of the ViT to doubt"]
    assert (
        f"fewer than {FEW} images" in said["Small samples"] and "removing heads (64)" in said["Small samples"]
    )


def test_the_winner_of_a_leaderboard_is_doubted_only_where_one_was_taken(small_run):
    doubt = "so its winner may look better here"
    run = RunDirectory(small_run)
    assert doubt in dict(limits(run).lines)["Chosen methods"]
    run.specimens.attrs["maps"]["vit"]["chosen_by"] = "default"
    said = dict(limits(run).lines)["Chosen methods"]
    assert doubt not in said and said.endswith("is the default. Another method may draw another map.")


def test_methods_below_chance_are_named_and_a_board_without_winner_says_why(small_run):
    run = RunDirectory(small_run)
    board = run.results["leaderboard"]["vit"]
    board["overall"] = [one | {"beats_chance": []} for one in board["overall"][:2]]
    run.__dict__["results"] = run.results | {
        "leaderboard": {"vit": board | {"winner": None, "reason": "no judge counts"}}
    }
    said = dict(limits(run).lines)["Maps of the ViT to doubt"]
    assert said.startswith(
        "No map is shown to be better than chance: no judge counts. Not shown to beat a random map"
    )


def test_questions_are_counted_where_the_run_says_so(small_run):
    said = dict(limits(with_results(small_run, num_questions=30)).lines)["How many questions"]
    assert said.startswith("30 questions could become a finding and 3 did")
    assert "How many questions" not in dict(limits(RunDirectory(small_run)).lines)


def test_what_was_not_measured_says_why(small_run, attacked_run):
    run = with_results(
        small_run, not_judged={"vit": "judge_images was 0"}, not_attacked="there are no labels"
    )
    assert limits(run).missing[:2] == (
        "Which map of the ViT to believe: judge_images was 0.",
        "What breaks the models: there are no labels.",
    )
    run = RunDirectory(attacked_run)
    run.__dict__["robustness"] = dict(run.robustness) | {
        "missing": {"shape": "no patches", "my_part": "why not."}
    }
    assert limits(run).missing[:2] == ("Shape share: no patches.", "My part: why not.")


def test_without_labels_limits_speak_of_agreement(unlabelled_run):
    run = RunDirectory(unlabelled_run)
    assert "known to about ±" in dict(limits(run).lines)["How many images"] and failures(run) is None


def test_confusions_are_counted_with_intervals(small_run):
    run = RunDirectory(small_run)
    found = failures(run)
    rows = run.images.to_pylist()
    top = found.confusions[0]
    model = top.model.lower()
    same = [
        row for row in rows if (row["label_name"], row[f"{model}_prediction_name"]) == (top.label, top.answer)
    ]
    of_label = [row for row in rows if row["label_name"] == top.label]
    assert top.number == f"{len(same)} of {len(of_label)}" and top.label != top.answer
    numbers = [int(one.number.split()[0]) for one in found.confusions]
    assert numbers == sorted(numbers, reverse=True) and min(numbers) >= 2


MEASURE = {"name": "lead", "value": 6.5, "low": 4.1, "high": 8.9, "unit": "points", "n": 1000, "of": "images"}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, "lead 6.5 points (4.1 to 8.9, n = 1,000 images)"),
        ({"unit": "%"}, "lead 6.5 % (4.1 to 8.9, n = 1,000 images)"),
        ({"unit": "times", "high": None}, "lead 6.5\u00d7 (4.1 to ∞, n = 1,000 images)"),
        ({"unit": "", "of": "heads", "n": 24}, "lead 6.50 (4.10 to 8.90, n = 24 heads)"),
    ],
)
def test_the_number_of_a_finding_has_unit_interval_and_n(change, words):
    assert spaced(number_words(MEASURE | change)) == words


def test_a_finding_of_an_older_run_has_its_sentence_alone():
    found = {"title": "T", "text": "t.", "evidence": "pruning", "strength": 2.0}
    view = found_view(found, {"pruning": "How many can go?"}, {})
    assert (view.number, view.sure, view.anchor, view.evidence) == (
        "",
        "",
        "figure-pruning",
        "How many can go?",
    )
    new = found_view(found | {"measure": MEASURE, "p_corrected": 0.01}, {}, {"pruning": "Pruning"})
    assert new.sure == "p = 0.010 after correction" and new.anchor == "pruning"


def test_every_source_that_names_a_year_leads_to_a_reference():
    sources = [term.source for table in (METHODS, JUDGES, MEASURES) for term in table.values()]
    sources += [source for _, _, source in ATTACKS.values()]
    for source in sources:
        assert len(keys_of(source, bibliography())) >= len(CITED.findall(source)), source
    assert set(STATISTICS) <= set(bibliography())


def test_references_are_whole_sorted_and_only_of_what_is_cited():
    found = references(["Bach et al., 2015; Blücher et al., 2024", "a control"])
    assert len(found) == len(STATISTICS) + 2
    assert any(line.startswith("Bach, S.") and "(2015). On Pixel-Wise" in line for line in found)
    assert any("Decoupling Pixel Flipping" in line for line in found)
    assert not any("\\" in line or "{" in line for line in bibliography().values())


def test_the_file_of_references_is_what_the_script_writes_from_the_bibliography():
    spec = importlib.util.spec_from_file_location("report_references", ROOT / "docs" / "report_references.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.TARGET.read_text(encoding="utf-8") == module.text(), "run python docs/report_references.py"


def test_heads_that_were_not_ablated_are_named_with_the_reason(small_run):
    said = limits(with_results(small_run, not_ablated="there was only 1 image")).missing
    assert "Which heads and layers the answer needs: there was only 1 image." in said
