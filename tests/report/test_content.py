"""What the report says, on numbers made by hand."""

import numpy as np
import pytest

from archaeology.dig.directory import RunDirectory
from archaeology.figures.terms import JUDGES, METHODS
from archaeology.report import write_report
from archaeology.report.content import report_of
from archaeology.report.layers import atlases, layers
from archaeology.report.markdown import markdown, plain
from archaeology.report.methods import lowered
from archaeology.report.pairs import coarser, pairs
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
        "figure-ablation_loss",
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
    assert found[40].vit.peak == "1.00\u00d7" and found[30].vit.peak == "2.00\u00d7"
    assert found[10].vit.state == "missing"
    assert found[10].cnn.state == "empty" and found[10].cnn.shared == ""
    assert found[40].cnn.shared != found[30].cnn.shared
    assert found[40].cnn.own == found[30].cnn.own
    assert pairs(run, {row: image(row) for row in rows}).num_empty == 1


def test_a_run_without_rollout_says_so_and_still_shows_images():
    run = FakeRun()
    run.__dict__["specimens"] = FakeSpecimens(
        {"image_index": np.array([3]), "grad_cam": np.ones((1, 2, 2))}, pair_images=[3]
    )
    found = pairs(run, {3: image(3)})
    assert found.pairs[0].vit.state == "missing" and found.pairs[0].cnn.state == "drawn"


def with_maps(maps, **chosen):
    run = FakeRun()
    run.__dict__["specimens"] = FakeSpecimens(
        {"image_index": np.array([3]), "vit_map": maps, "cnn_map": np.ones((1, 2, 2))},
        pair_images=[3],
        maps=chosen,
    )
    return pairs(run, {3: image(3)})


def test_shares_of_attention_are_shown_in_multiples_of_an_even_share_and_other_maps_as_they_are():
    maps = np.array([[[0.25, 0.5], [0.0, 0.0]]])
    shown = with_maps(maps, vit={"method": "raw_attention", "formula": "A", "chosen_by": "default"}).vit
    assert shown.is_share and shown.scale.low == 1 and shown.choice == "the default"
    assert with_maps(maps, vit={"method": "raw_attention"}).pairs[0].vit.peak == "2.00\u00d7"
    chosen = {
        "method": "lrp",
        "chosen_by": "leaderboard",
        "reason": "won.",
        "parameters": {"rule": "attnlrp"},
    }
    found = with_maps(maps, vit=chosen)
    assert found.pairs[0].vit.peak == "0.500" and found.vit.scale.low == 0
    assert found.vit.is_chosen and found.vit.choice == "chosen by the leaderboard: won"
    assert (found.vit.title, found.vit.parameters) == ("LRP", "rule attnlrp")


def test_a_method_nobody_has_heard_of_is_called_by_its_name():
    assert with_maps(np.ones((1, 2, 2)), vit={"method": "my_own_map"}).vit.title == "My own map"


def test_maps_of_single_pixels_are_shown_as_means_of_blocks():
    maps = np.random.default_rng(0).random((2, 113, 60))
    found, factor = coarser(maps)
    assert factor == 3 and found.shape == (2, 38, 20)
    np.testing.assert_allclose(found[1, 4, 2], maps[1, 12:15, 6:9].mean())
    np.testing.assert_allclose(found[0, 37, 19], maps[0, 111:, 57:].mean())
    assert coarser(maps[:, :56, :56]) == (pytest.approx(maps[:, :56, :56]), 1)
    shown = with_maps(maps[:1], vit={"method": "gradient"}).vit
    assert shown.scale.unit.endswith("mean of 3 by 3 pixels")


@pytest.mark.parametrize("key", ["leaderboard", "specialization", "pruning", "layer_ablation"])
def test_findings_of_the_forensics_lead_to_their_evidence(key, made_up, small_run, plain_run):
    finding = {"title": "T", "text": "t", "evidence": key, "strength": 2.0}
    for folder, anchor in ((small_run, key if key == "leaderboard" else f"figure-{key}"), (plain_run, None)):
        run = RunDirectory(folder)
        run.__dict__["results"] = run.results | {"findings": [finding]}
        assert [found.anchor for found in report_of(run).findings] == [anchor]


def test_a_board_without_a_winner_says_why(small_run):
    run = RunDirectory(small_run)
    boards = run.results["leaderboard"]
    boards["vit"] |= {"winner": None, "reason": "no method beats chance with enough of the judges"}
    report = report_of(run)
    assert report.leaderboard_figures[0].headline.startswith(
        "For the ViT no map is shown to be worth believing: no method beats chance with enough of the judges"
    )


def test_every_method_and_every_judge_has_words():
    from archaeology.evaluate.judge import judges
    from archaeology.explain.method import explanations

    assert set(METHODS) >= set(explanations.names()) and set(JUDGES) >= set(judges.names())


def test_indices_are_set_below_the_line_and_nothing_else_becomes_markup():
    assert lowered("w_c < F_c & more") == "w<sub>c</sub> &lt; F<sub>c</sub> &amp; more"


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


def test_markdown_sets_the_choice_of_a_map_apart_from_its_name(small_report):
    text = markdown(small_report)
    assert "- Map of the ViT: Relevance (chosen by the leaderboard" in text
    assert "- Map of the CNN: Grad-CAM (the default" in text


def test_markdown_holds_the_same_verdict_findings_and_tables(small_folder, small_report):
    text, report = (small_folder / "report.md").read_text(encoding="utf-8"), small_report
    assert text.splitlines()[0] == f"# {plain(report.verdict.sentence)}"
    for finding in report.findings:
        assert plain(finding.text) in text
    for view in (*report.failure_figures, *report.leaderboard_figures, *report.head_figures):
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
