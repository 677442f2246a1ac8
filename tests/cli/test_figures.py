"""`archaeology figures` as a user meets it: pictures of the worlds, of trained runs, one JSON document, mistakes."""

import json

import pytest

from archaeology.core.storage import write_json, write_tensors
from archaeology.models import EncoderDecoder
from archaeology.recipes.stream import FORMAT, TASK


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A folder with one small encoder-decoder in it, not trained."""
    arguments = {"image_size": 128, "embed_dim": 16, "encoder_depth": 1, "decoder_depth": 1, "num_heads": 2}
    folder = tmp_path_factory.mktemp("runs") / "deep" / "inside"
    described = {
        "recipe": "shapes2d_encoder_decoder",
        "architecture": "encoder_decoder",
        "arguments": arguments,
    }
    write_json(folder / "config.json", {"format": FORMAT, "task": TASK, **described, "facts": {"seed": 0}})
    write_tensors(folder / "model.safetensors", EncoderDecoder(**arguments).state_dict())
    return folder.parents[1]


def test_a_world_is_drawn_without_any_run(tmp_path, run):
    code, out, err = run("figures", "world_shapes1d", "--out", tmp_path)
    assert code == 0 and err == ""
    headline, path, *_ = out.splitlines()
    assert len(headline) > 30 and path == str(tmp_path / "world_shapes1d.png")
    assert (tmp_path / "world_shapes1d.png").read_bytes().startswith(b"\x89PNG")


def test_a_trained_run_is_found_at_any_depth_and_told_as_json(tmp_path, run, runs):
    words = (
        "world_cross_patch",
        "--runs",
        runs,
        "--out",
        tmp_path,
        "--format",
        "svg",
        "--json",
        "--patch",
        9,
    )
    code, out, _ = run("figures", *words)
    told = json.loads(out)["figures"]["world_cross_patch"]
    assert code == 0 and "<svg" in (tmp_path / "world_cross_patch.svg").read_text()
    assert told["columns"][0] == "Attention on the evidence" and told["rows"][-1][0] == "by chance"
    assert told["headline"].endswith(".")


def test_what_lacks_a_run_is_refused_by_name_and_skipped_otherwise(tmp_path, run):
    code, _, err = run("figures", "world_cross_patch", "--out", tmp_path)
    assert code == 2 and "--runs was not given; train some, for example `archaeology train" in err
    (tmp_path / "empty").mkdir()
    code, _, err = run("figures", "world_cross_patch", "--runs", tmp_path / "empty", "--out", tmp_path)
    assert code == 2 and "empty has none that fits" in err
    _, _, err = run("figures", "head_pattern", "--out", tmp_path)
    assert "for example `archaeology train reverse_sequence`, and say" in err


def test_without_a_name_all_are_drawn_that_can_be(tmp_path, run):
    code, out, err = run("figures", "--out", tmp_path)
    drawn = {path.stem for path in tmp_path.glob("*.png")}
    assert code == 0 and {"world_shapes1d", "world_shapes2d", "world_positions", "world_masks"} <= drawn
    assert "world_cross_patch" not in drawn and "archaeology: world_cross_patch shows trained models" in err
    assert str(tmp_path / "world_masks.png") in out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("world_shape1d",), "world_shapes1d"),
        (("--runs", "/nowhere/at/all"), "runs must be a folder, but there is no '/nowhere/at/all'"),
        (("--sample", "-1"), "greater than or equal to 0"),
        (("world_shapes1d", "--format", "gif"), "png"),
    ],
)
def test_mistakes_are_told_in_one_message(run, tmp_path, words, said):
    code, out, err = run("figures", *words, "--out", tmp_path)
    assert code == 2 and out == "" and said in err
