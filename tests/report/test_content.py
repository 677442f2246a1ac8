"""What the report says, on numbers made by hand."""

import numpy as np
import pytest

from archaeology.dig.directory import RunDirectory
from archaeology.report import write_report
from archaeology.report.layers import atlases, layers
from archaeology.report.markdown import plain
from archaeology.report.pairs import pairs
from archaeology.report.pictures import Scale
from archaeology.report.shown import Answer, ShownImage, shown_images
from archaeology.report.verdict import verdict


class FakeRun(RunDirectory):
    """A run with given results, and specimens where a test sets them."""

    def __init__(self, **results):
        self.__dict__["results"] = results


class FakeSpecimens(dict):
    """Arrays by name with attributes, as a Zarr group has them."""

    attrs: dict

    def __init__(self, arrays, **attributes):
        super().__init__(arrays)
        self.attrs = attributes


def interval(value, low, high, n=1000):
    return {"value": value, "low": low, "high": high, "n": n, "method": "made up"}


def labelled(vit, cnn, difference, p_value):
    return FakeRun(
        accuracy={"vit": interval(*vit), "cnn": interval(*cnn), "difference": interval(*difference)},
        mcnemar={"only_vit_right": 61, "only_cnn_right": 136, "n": 1000, "p_value": p_value},
        failures=None,
    )


def spaced(text):
    return text.replace("\u202f", " ").replace("\u00a0", " ")


def test_a_clear_verdict_is_one_sentence_with_interval_and_test():
    run = labelled((0.789, 0.763, 0.813), (0.864, 0.841, 0.884), (-0.075, -0.098, -0.052), 9e-8)
    assert spaced(verdict(run).sentence) == (
        "The CNN is right on 86.4 % of 1,000 images, the ViT on 78.9 %: a difference of 7.5 points "
        "(95 % interval 5.2 to 9.8), McNemar p < 0.001."
    )
    cards = {card.label: spaced(card.value) for card in verdict(run).cards}
    assert cards == {"ViT is right": "78.9 %", "CNN is right": "86.4 %", "CNN leads by": "7.5 points"}
    assert "the ViT alone is right on 61, the CNN alone on 136" in verdict(run).notes[0]


def test_an_unclear_verdict_says_so():
    run = labelled((0.8, 0.77, 0.83), (0.79, 0.76, 0.82), (0.01, -0.02, 0.04), 0.5123)
    assert spaced(verdict(run).sentence) == (
        "The ViT is right on 80.0 % of 1,000 images, the CNN on 79.0 %: the difference of 1.0 points cannot be told "
        "from chance (95 % interval \u22122.0 to 4.0), McNemar p = 0.512."
    )


def test_without_labels_the_verdict_is_agreement():
    found = verdict(FakeRun(accuracy=None, agreement=interval(0.75, 0.72, 0.78, n=400)))
    assert spaced(found.sentence).startswith(
        "The ViT and the CNN give the same answer on 75.0 % of 400 images"
    )
    assert found.cards[1].value == "100 images"


def test_findings_are_ranked_and_lead_to_their_evidence(small_report):
    assert [finding.anchor for finding in small_report.findings] == [
        "figure-failure_types",
        "figure-entropy",
        "figure-ablation_accuracy",
    ]


def image(row):
    said = Answer("cat", "90 %", is_right=True)
    return ShownImage(row, f"{row}.png", "cat", said, said, "none", 0.0, "")


def test_pairs_find_their_maps_by_row_and_share_a_scale():
    rows = [40, 10, 30]
    rollout = np.zeros((3, 5, 7))
    rollout[0], rollout[1, 0, 0], rollout[2] = 1 / 35, np.nan, 2 / 35
    run = FakeRun()
    run.__dict__["specimens"] = FakeSpecimens(
        {
            "image_index": np.array(rows),
            "rollout": rollout,
            "grad_cam": np.stack([np.full((2, 3), 4.0), np.zeros((2, 3)), np.full((2, 3), 2.0)]),
        },
        pair_images=[30, 40, 10],
    )
    found = {pair.image.row: pair for pair in pairs(run, {row: image(row) for row in rows}).pairs}
    assert found[40].rollout.peak == "1.00\u00d7" and found[30].rollout.peak == "2.00\u00d7"
    assert found[10].rollout.state == "missing"
    assert found[10].grad_cam.state == "empty" and found[10].grad_cam.shared == ""
    assert found[40].grad_cam.shared != found[30].grad_cam.shared
    assert found[40].grad_cam.own == found[30].grad_cam.own
    assert pairs(run, {row: image(row) for row in rows}).num_empty == 1


def test_a_run_without_rollout_says_so_and_still_shows_images():
    run = FakeRun()
    run.__dict__["specimens"] = FakeSpecimens(
        {"image_index": np.array([3]), "grad_cam": np.ones((1, 2, 2))}, pair_images=[3]
    )
    found = pairs(run, {3: image(3)})
    assert found.pairs[0].rollout.state == "missing" and found.pairs[0].grad_cam.state == "drawn"


def test_a_model_whose_layers_see_windows_has_no_strips(small_run):
    run = RunDirectory(small_run)
    run.__dict__["specimens"] = FakeSpecimens({"image_index": np.array([1])}, layer_images=[1])
    assert layers(run, {}) is None


def test_an_atlas_is_left_out_when_the_page_is_full():
    readout = np.random.default_rng(0).random((3, 2, 3, 5, 7))
    scale = Scale(0.0, 1.0, "linear", "")
    everything = atlases(readout, scale, budget=10**6)
    assert all(everything)
    one_and_a_half = len(everything[0]) + len(everything[1]) // 2
    assert [bool(uri) for uri in atlases(readout, scale, budget=one_and_a_half)] == [True, False, False]


def test_readout_maps_are_multiples_of_an_even_share(small_run):
    run = RunDirectory(small_run)
    chapter = layers(run, shown_images(run))
    assert (chapter.num_layers, chapter.num_heads, len(chapter.strips)) == (6, 4, 20)
    stored = np.asarray(run.specimens["readout"]).astype(float)
    assert 0 < chapter.mean_scale.high <= stored.mean(axis=2).max() * 64 * 1.001
    assert chapter.head_scale.high > chapter.mean_scale.high
    assert chapter.readout == "the class token"


def test_severity_is_the_confidence_of_wrong_answers(small_run):
    run = RunDirectory(small_run)
    facts = run.images.to_pylist()
    for row, shown in shown_images(run).items():
        wrong = [facts[row][f"{m}_confidence"] for m in ("vit", "cnn") if not facts[row][f"{m}_correct"]]
        assert shown.severity == pytest.approx(sum(wrong))
        assert shown.id == facts[row]["id"]


def test_markdown_holds_the_same_verdict_findings_and_tables(small_folder, small_report):
    text, report = (small_folder / "report.md").read_text(encoding="utf-8"), small_report
    assert text.splitlines()[0] == f"# {plain(report.verdict.sentence)}"
    for finding in report.findings:
        assert plain(finding.text) in text
    for view in (*report.verdict_figures, *report.head_figures):
        assert f"### {plain(view.title)}" in text
        assert f"| {' | '.join(plain(cell) for cell in view.table.rows[0])} |" in text
    assert text.count("\n| test/0") == len(report.pairs.pairs)


def test_plain_text_survives_markdown_and_html():
    assert plain("a|b *c* <d> `e`\n[f](g) #h & i_j") == r"a\|b \*c\* &lt;d&gt; \`e\` \[f\](g) \#h &amp; i\_j"


def test_a_report_of_nothing_is_refused_like_any_run(tmp_path):
    with pytest.raises(FileNotFoundError, match="no folder"):
        write_report(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"holds no run\.json"):
        write_report(tmp_path)
    assert list(tmp_path.iterdir()) == []
