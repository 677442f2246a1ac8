"""A whole dig: what it writes, that it goes on after kill -9 without redoing an image, and what it refuses."""

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.dig.conftest import CNN, save

import archaeology as arc
from archaeology.core.storage import write_json
from archaeology.dig.config import DigConfig
from archaeology.dig.directory import RunDirectory
from archaeology.dig.estimate import estimate
from archaeology.dig.judging import judging_count
from archaeology.dig.representing import represent_count
from archaeology.dig.robustness import robustness_count
from archaeology.dig.run import claimed_folder
from archaeology.represent.survey import FEWEST

SMALL = {"images": 30, "batch_size": 4, "layer_images": 3, "pair_images": 6, "seed": 1}
SMALL |= {"judge_images": 2, "pruning_images": 6, "robustness_images": 4, "represent_images": 20}


@pytest.fixture(scope="module")
def finished(tiny, tmp_path_factory):
    return arc.dig(**tiny, data="cue_conflict", out=tmp_path_factory.mktemp("runs") / "whole", **SMALL)


def test_run_directory_holds_what_the_design_says(finished):
    run, results = finished.run, finished.results
    assert run["status"] == "complete" and run["schema_version"] == 1
    assert run["config"]["images"] == 30 and run["config"]["seed"] == 1
    assert len(run["models"]["vit"]["fingerprint"]) == 64
    assert run["models"]["vit"]["layout"]["rows"] == 4 and run["models"]["cnn"]["layout"] is None
    assert run["data"]["num_images"] == 30 and run["data"]["split"] == "random"
    assert {"decode", "predict", "heads", "ablate", "maps", "write"} <= set(run["seconds"])
    assert results["n"] == 30
    assert results["accuracy"]["vit"]["n"] == 30
    assert (
        sum(
            results["failures"][name]
            for name in ("none", "vit-only", "cnn-only", "both-same", "both-different")
        )
        == 30
    )


def test_layers_are_asked_about_some_images_and_kept(finished):
    document = finished.representation
    assert finished.results["not_represented"] == "" and document["n"] == 20
    assert document["roles"] == {role: finished.run["models"][role]["name"] for role in ("vit", "cnn")}
    assert {"similarity", "maps", "retrieval"} <= set(document) and "represent" in finished.run["seconds"]
    assert finished.run["work"]["computed"]["represent-similarity"] == 20
    right = dict(
        zip(
            finished.images.column("id").to_pylist(),
            finished.images.column("vit_correct").to_pylist(),
            strict=True,
        )
    )
    shown = document["maps"]
    assert shown["models"][0]["right"] == [right[name] for name in shown["ids"]]


def test_layers_are_not_asked_about_too_few_images():
    config = DigConfig(represent_images=5)
    assert represent_count(config, {}, available=30) == 5 < FEWEST


def test_predictions_are_the_models_own(finished, tiny):
    table = finished.images.to_pylist()
    source = arc.open_source("cue_conflict", split="random")
    numbers = [int(row["id"].rsplit("-", 1)[-1]) for row in table]
    images = torch.stack([source.get(number).image for number in numbers])
    labels = [source.get(number).label for number in numbers]
    assert [row["label"] for row in table] == labels
    for role in ("vit", "cnn"):
        logits = arc.load(tiny[role], device="cpu").predict(images)
        assert [row[f"{role}_prediction"] for row in table] == logits.argmax(1).tolist()
        confidence = [row[f"{role}_confidence"] for row in table]
        np.testing.assert_allclose(confidence, logits.softmax(1).amax(1).tolist(), rtol=1e-4)
        right = [row[f"{role}_correct"] for row in table]
        assert right == [
            place == label for place, label in zip(logits.argmax(1).tolist(), labels, strict=True)
        ]


def test_classes_are_drawn_evenly(finished):
    counts = np.bincount(finished.images.column("label").to_numpy())
    assert counts.sum() == 30 and counts.min() >= 3


def test_heads_table_has_every_head_with_statistics_and_effects(finished, tiny):
    heads = finished.heads.to_pylist()
    assert [(row["layer"], row["head"]) for row in heads] == [
        (layer, head) for layer in range(3) for head in range(3)
    ]
    images = torch.from_numpy(np.ascontiguousarray(finished.specimens["pixels"][:]))
    assert all(0 < row["entropy"] <= np.log(16) + 1e-6 for row in heads)
    assert all(row["entropy_low"] <= row["entropy"] <= row["entropy_high"] for row in heads)
    assert all(row["n"] == 30 and row["ablation_n"] == 30 for row in heads)
    assert any(row["ablation_loss"] != 0 for row in heads)
    assert all(np.isnan(row["class_token_mass"]) for row in heads)  # this ViT has no class token
    assert images.shape[1:] == (3, 64, 64)


def test_maps_are_those_of_the_library(finished, tiny):
    stored = finished.specimens
    vit, cnn = (arc.load(tiny[role], device="cpu") for role in ("vit", "cnn"))
    images = torch.from_numpy(np.ascontiguousarray(stored["pixels"][:]))
    rollout = arc.explain("rollout", arc.capture(vit, images)).heatmap.numpy()
    np.testing.assert_allclose(stored["rollout"][:], rollout, atol=1e-5)
    record = arc.capture(cnn, images, taps=(cnn.target_layer,), patterns=False, gradients=True)
    np.testing.assert_allclose(
        stored["grad_cam"][:], arc.explain("grad_cam", record).heatmap.numpy(), atol=1e-5
    )
    rows = list(stored["image_index"][:])
    layered = [rows.index(row) for row in stored.attrs["layer_images"]]
    pattern = arc.capture(vit, images[layered]).stack().transpose(0, 1)
    np.testing.assert_allclose(stored["attention"][:], pattern.numpy(), atol=1e-3)
    readout = pattern.mean(dim=3).unflatten(-1, (4, 4)).numpy()
    np.testing.assert_allclose(stored["readout"][:], readout, atol=1e-3)
    assert stored["attention"].metadata.dimension_names == ("layer_image", "layer", "head", "query", "key")


def test_explanations_are_judged_and_the_board_is_kept(finished):
    rows = finished.explanations.to_pylist()
    assert {row["model"] for row in rows} == {"vit", "cnn"}
    assert {"rollout", "relevance", "random"} <= {row["method"] for row in rows if row["model"] == "vit"}
    assert "rollout" not in {row["method"] for row in rows if row["model"] == "cnn"}
    judges = {row["judge"] for row in rows}
    assert {"deletion", "road", "pointing_game", "randomization"} <= judges  # this world knows its masks
    assert all(row["images"] <= 2 for row in rows)
    board = finished.results["leaderboard"]["vit"]
    assert board["images"] == 2 and board["rule"]
    assert "rollout" in finished.results["leaderboard"]["cnn"]["missing"]


def test_the_map_shown_is_the_winners_or_the_default_and_says_so(finished, tiny):
    made = finished.specimens.attrs["maps"]
    for role in ("vit", "cnn"):
        winner = finished.results["leaderboard"][role]["winner"]
        assert made[role]["chosen_by"] == ("default" if winner is None else "leaderboard")
        specimen = arc.load(tiny[role], device="cpu")
        images = torch.from_numpy(np.ascontiguousarray(finished.specimens["pixels"][:]))
        heat = arc.explain_images(made[role]["method"], specimen, images, **made[role]["parameters"]).heatmap
        stored = finished.specimens[f"{role}_map"][:]
        assert max(stored.shape[1:]) <= 32
        if heat.shape[1:] == stored.shape[1:]:
            np.testing.assert_allclose(stored, heat.numpy(), atol=1e-4)


def test_layers_and_pruning_are_measured(finished):
    layers = finished.layers.to_pylist()
    assert {(row["layer"], row["part"]) for row in layers} == {
        (layer, part) for layer in range(3) for part in ("attention", "mlp")
    }
    assert all(row["n"] == 30 for row in layers)
    pruning = finished.pruning.to_pylist()
    assert {row["order"] for row in pruning} >= {"lazy greedy", "single effects", "random 0"}
    assert max(row["removed"] for row in pruning) == 9 and all(row["n"] == 3 for row in pruning)
    assert finished.results["pruning"]["num_chosen_on"] == 3


def test_every_head_has_a_label_and_a_verdict(finished):
    for row in finished.heads.to_pylist():
        assert row["label"] and 0 <= row["confidence"] <= 1 and len(row["typical"]) > 0
        assert row["verdict"] in ("needed", "harmful", "useless within 0.1 points", "not shown to matter")
        assert row["p_corrected"] >= row["p"]


def test_a_model_too_large_to_judge_unasked_is_not_judged(tiny):
    config = DigConfig(**tiny, data="cue_conflict")
    small = arc.load(tiny["vit"], device="cpu")
    assert judging_count(config, small, available=1000) == 24
    assert judging_count(config, small, available=5) == 5
    large = replace(
        small, model=torch.nn.Linear(20_000, 5_000), layout=replace(small.layout, rows=14, columns=14)
    )
    assert judging_count(config, large, available=1000) == 0
    asked = config.model_copy(update={"judge_images": 7})
    assert judging_count(asked, large, available=1000) == 7


def test_metrics_repeat_every_number_in_long_form(finished):
    metrics = {(row["model"], row["metric"]): row for row in finished.metrics.to_pylist()}
    assert metrics["vit", "accuracy"]["value"] == finished.results["accuracy"]["vit"]["value"]
    head = finished.heads.to_pylist()[4]
    assert metrics["vit", "entropy/layer1/head1"]["value"] == head["entropy"]
    assert metrics["vit", "ablation_loss/layer1/head1"]["high"] == head["ablation_loss_high"]


def test_what_breaks_both_models_is_measured(finished, tiny):
    document = finished.robustness
    assert document["roles"] == {"vit": tiny["vit"], "cnn": tiny["cnn"]} and document["n"] == 4
    assert finished.results["not_attacked"] == ""
    rows = [row for row in finished.metrics.to_pylist() if row["attack"] == "pgd"]
    (at_zero,) = (
        row
        for row in rows
        if (row["model"], row["metric"], row["epsilon"]) == ("cnn", "robust_accuracy/linf", 0)
    )
    cnn = next(one for one in document["curves"][0]["curves"] if one["specimen"] == tiny["cnn"])
    assert at_zero["value"] == cnn["table"][0]["accuracy"] and at_zero["n"] == 4
    parts = {path.name for path in (finished.path / "parts").iterdir()}
    assert {"robustness-curves", "robustness-patches"} <= parts


def test_how_many_images_are_attacked_follows_from_what_models_cost(tiny):
    config = DigConfig(**tiny, data="cue_conflict")
    small = {role: arc.load(tiny[role], device="cpu") for role in ("vit", "cnn")}
    assert robustness_count(config, small, available=1000) == 128
    assert robustness_count(config, small, available=5) == 5
    large = {**small, "cnn": replace(small["cnn"], model=torch.nn.Linear(20_000, 5_000))}
    assert robustness_count(config, large, available=1000) == 0
    asked = config.model_copy(update={"robustness_images": 7})
    assert robustness_count(asked, large, available=1000) == 7


def test_the_same_dig_again_is_read_not_made(finished, tiny):
    written = (finished.path / "run.json").stat().st_mtime_ns
    again = arc.dig(**tiny, data="cue_conflict", out=finished.path, **SMALL)
    assert (again.path / "run.json").stat().st_mtime_ns == written


def test_another_dig_in_the_same_folder_is_refused(finished, tiny):
    with pytest.raises(ValueError, match=r"holds a dig with other settings \(images was 30 and is 31\)"):
        arc.dig(**tiny, data="cue_conflict", out=finished.path, **{**SMALL, "images": 31})


def test_a_finished_dig_of_other_weights_of_that_name_is_refused(tiny, tmp_path):
    vit = arc.load(tiny["vit"], device="cpu")
    source = arc.open_source("cue_conflict", split="random")
    names = {"vit": vit.name, "cnn": tiny["cnn"], "data": source.name}
    claimed_folder(DigConfig(**names, out=tmp_path / "run", **SMALL))
    models = {"vit": vit.describe(), "cnn": arc.load(tiny["cnn"], device="cpu").describe()}
    facts = {"models": models, "data": {"fingerprint": source.fingerprint}}
    write_json(tmp_path / "run" / "run.json", {"schema_version": 1, "status": "complete", **facts})

    def again(data=source):
        return arc.dig(vit=vit, cnn=tiny["cnn"], data=data, out=tmp_path / "run", **SMALL)

    assert again().path == tmp_path / "run"
    with pytest.raises(ValueError, match=r"of another 'cue_conflict'.*choose another out"):
        again(arc.open_source("cue_conflict", split="conflict"))
    with torch.no_grad():
        vit.model.head.weight.add_(1)
    with pytest.raises(ValueError, match=r"must be of the same vit, but .*choose another out"):
        again()


def test_a_finished_dig_of_a_run_trained_again_since_is_refused_and_of_one_gone_is_read(tiny, tmp_path):
    names = {"vit": tiny["vit"], "cnn": f"run:{tmp_path / 'cnn'}", "data": "cue_conflict"}
    shutil.copytree(tiny["cnn"].removeprefix("run:"), tmp_path / "cnn")
    claimed_folder(DigConfig(**names, out=tmp_path / "run", **SMALL))
    models = {role: arc.load(names[role], device="cpu").describe() for role in ("vit", "cnn")}
    facts = {"models": models, "data": {"fingerprint": "of a world, which has no files"}}
    write_json(tmp_path / "run" / "run.json", {"schema_version": 1, "status": "complete", **facts})

    def again():
        return arc.dig(**names, out=tmp_path / "run", **SMALL)

    assert again().path == tmp_path / "run"
    shutil.rmtree(tmp_path / "cnn")
    save(tmp_path / "cnn", "convnet", {**CNN, "widths": (8, 9)})
    with pytest.raises(ValueError, match=r"must be of the same cnn, but .*choose another out"):
        again()
    shutil.rmtree(tmp_path / "cnn")
    assert again().path == tmp_path / "run"


def test_a_folder_with_other_things_is_refused_and_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(ValueError, match="must be a new or empty folder"):
        claimed_folder(DigConfig(out=tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_cnn_in_place_of_the_transformer_is_refused(tiny, tmp_path):
    with pytest.raises(ValueError, match=r"vit must be a transformer, but .* is convolutional"):
        arc.dig(vit=tiny["cnn"], cnn=tiny["cnn"], data="cue_conflict", out=tmp_path / "run", **SMALL)


def test_unlabelled_images_count_agreement(tiny, tmp_path):
    from PIL import Image

    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(6):
        noise = np.random.default_rng(number).integers(0, 256, (70, 90, 3), dtype=np.uint8)
        Image.fromarray(noise).save(photos / f"{number}.png")
    run = arc.dig(
        **tiny, data=f"folder:{photos}", out=tmp_path / "run", **{**SMALL, "images": 6, "judge_images": 0}
    )
    assert run.results["accuracy"] is None and run.results["agreement"]["n"] == 6
    assert set(run.images.column("failure").to_pylist()) == {None}
    assert run.results["leaderboard"] == {"vit": None, "cnn": None}
    assert "judge_images was 0" in run.results["not_judged"]["vit"]
    assert run.robustness is None and "there are no labels to be wrong about" in run.results["not_attacked"]
    report = arc.write_report(run.path)
    assert report.stat().st_size > 10_000


@pytest.mark.slow
def test_killed_half_way_it_goes_on_and_redoes_no_finished_image(finished, tiny, tmp_path):
    out = tmp_path / "killed"
    words = [
        "dig",
        "--vit",
        tiny["vit"],
        "--cnn",
        tiny["cnn"],
        "--data",
        "cue_conflict",
        "--out",
        str(out),
        "--json",
    ]
    for name, value in SMALL.items():
        words += [f"--{name.replace('_', '-')}", str(value)]
    command = [
        sys.executable,
        "-c",
        "from archaeology.cli.main import main; raise SystemExit(main())",
        *words,
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 300
    while (
        not list(out.glob("parts/specialization/*.npz"))
        and process.poll() is None
        and time.monotonic() < deadline
    ):
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL and not (out / "run.json").exists()
    before = {path: path.stat().st_mtime_ns for path in out.glob("parts/*/*.npz")}
    assert before

    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert {path: path.stat().st_mtime_ns for path in before} == before
    again = RunDirectory(out)
    work = again.run["work"]
    assert work["reused"]["predict-vit"] == 30 and "predict-vit" not in work["computed"]
    for stage in ("predict-vit", "predict-cnn", "specialization", "means", "ablate"):
        assert work["computed"].get(stage, 0) + work["reused"].get(stage, 0) == 30
    assert again.results == finished.results
    assert again.images.equals(finished.images)


def test_estimate_names_every_stage_and_counts_images(tiny):
    forecast = estimate(DigConfig(**tiny, data="cue_conflict", images=50))
    assert forecast.images == 50
    stages = {"decode", "predict", "heads", "ablate", "prune", "judge", "attack", "causes", "dissect"}
    stages |= {"represent", "maps", "report"}
    assert set(forecast.seconds) == stages
    assert forecast.total == pytest.approx(sum(forecast.seconds.values()))
    assert forecast.memory > 0
    assert "50 images" in forecast.text()
