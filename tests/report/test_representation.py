"""The chapter on layers: in page, Markdown, methods and limits, and absent where nothing was measured."""

import shutil

import pytest

from archaeology.core.storage import read_json, write_json
from archaeology.dig.directory import RunDirectory
from archaeology.report.content import report_of
from archaeology.report.limits import limits
from archaeology.report.markdown import markdown
from archaeology.report.page import page
from archaeology.report.representation import REPRESENTATION_FIGURES, TERMS, counts_of, representation


@pytest.fixture(scope="module")
def layered_run(made_up, made_up_layers, tmp_path_factory):
    plan = made_up.Plan(full_attention=False, num_images=60, num_pairs=5, num_layer_images=3)
    folder = made_up.write_run(tmp_path_factory.mktemp("runs") / "layered", plan)
    document = made_up_layers.made_up_layers()
    document["missing"] = {"objects": "the tokens of <b> lie on no grid"}
    del document["objects"]
    write_json(folder / "representation.json", document)
    results = read_json(folder / "results.json")
    write_json(folder / "results.json", results | {"not_represented": ""})
    return folder


@pytest.fixture(scope="module")
def content(layered_run):
    return report_of(RunDirectory(layered_run))


def test_the_chapter_stands_between_what_breaks_them_and_where_they_fail(content):
    keys = list(content.chapters)
    assert keys.index("representation") == keys.index("failures") - 1
    assert [view.name for view in content.representation_figures] == [
        name for name in REPRESENTATION_FIGURES if name != "patch_objects"
    ]


def test_it_says_how_it_was_asked(content):
    said = " ".join(content.representation.intro)
    assert "Asked on 61 images." in said and "31 of them are known" in said and "other 30 are asked" in said
    assert "1 copy of other images left out." in said
    assert "class token or the mean of patches" in said
    assert content.representation.layers[1] == ("convnet_cifar10", "whiten, groups.0, groups.1")


def test_page_and_markdown_have_it_with_every_name_escaped(content):
    html, text = page(content), markdown(content)
    assert 'id="representation"' in html and "What the layers know" in html
    assert "the tokens of &lt;b&gt; lie on no grid" in html and "<b> lie" not in html
    assert "## What the layers know" in text and "&lt;b&gt; lie on no grid" in text
    assert "First less second (points)" in text
    for term in ("Similarity of layers (CKA)", "Neighbours and linear probe"):
        assert f"<dt>{term}</dt>" in html
    assert "Objects from patches</dt>" not in html


def test_methods_cite_whole_references(content):
    lines = " ".join(content.methods.references)
    for title in (
        "Similarity of Neural Network Representations",
        "Visualizing Data using t-SNE",
        "Registers",
    ):
        assert title in lines


def test_limits_say_what_reading_is_no_proof_of(layered_run, made_up, small_run):
    said = limits(RunDirectory(layered_run))
    assert "What a readable layer is no proof of" in dict(said.lines)
    assert "neighbours and linear probe (30)" in dict(said.lines)["Small samples"]
    assert any(line.startswith("Objects from patches: the tokens of") for line in said.missing)
    without = limits(RunDirectory(small_run))
    assert "What a readable layer is no proof of" not in dict(without.lines)


def test_a_part_that_one_model_has_not_is_named_with_the_model(small_run, made_up_layers, tmp_path):
    document = made_up_layers.made_up_layers()
    document["outliers"]["missing"] = {document["specimens"][1]["name"]: "its tokens are all zero."}
    shutil.copytree(small_run, tmp_path / "run")
    write_json(tmp_path / "run" / "representation.json", document)
    run = RunDirectory(tmp_path / "run")
    assert ("Tokens of high norm of convnet_cifar10", "its tokens are all zero.") in representation(
        run
    ).missing
    assert "Tokens of high norm of convnet_cifar10: its tokens are all zero." in limits(run).missing


def test_a_run_without_the_document_has_no_chapter(small_run):
    run = RunDirectory(small_run)
    assert run.representation is None and representation(run) is None


def test_a_reason_is_given_where_nothing_was_measured(small_run):
    run = RunDirectory(small_run)
    run.__dict__["results"] = {**run.results, "not_represented": "there were only 3 images"}
    assert "What the layers know: there were only 3 images." in limits(run).missing


def test_counts_are_those_of_the_parts(made_up_layers):
    found = counts_of(made_up_layers.made_up_layers())
    assert found == {
        "neighbours and linear probe": 30,
        "few labels": 30,
        "tokens of high norm": 10,
        "objects from patches": 10,
    }
    assert counts_of({}) == {} and set(TERMS) >= {"similarity", "retrieval"}
