"""The toy task keeps its promise, its pattern is the anti-diagonal, and what is saved is what was measured."""

import json

import pytest
import torch

from archaeology.cli.main import main
from archaeology.figures.head_pattern import mean_pattern
from archaeology.models.reverser import SequenceReverser
from archaeology.recipes import load_trained, recipes, run_recipe
from archaeology.recipes.reverse_sequence import draw, held_out, score


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_promise(seed, tmp_path):
    result = run_recipe("reverse_sequence", tmp_path, overrides={"seed": seed, "threads": 1})
    assert result.is_kept and result.promise == "mse at most 0.01"
    assert result.scores["mse"].high < 0.01 and result.scores["mse"].n == 1000 and result.steps == 500
    assert min(result.scores[f"anti-diagonal mass of head {head}"].value for head in range(4)) > 0.9
    model, _ = load_trained(tmp_path)
    sequences, wanted = draw(50, torch.Generator().manual_seed(9))
    with torch.inference_mode():
        assert float((model(sequences) - wanted).square().mean()) < 0.01
    steps = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert steps[-2]["step"] == 500 and steps[-2]["loss"] < steps[0]["loss"]
    assert steps[-1]["mse"] < 0.02


def test_task_is_the_one_that_is_named():
    recipe = recipes.get("reverse_sequence")()
    assert (recipe.config.batch_size, recipe.config.learning_rate, recipe.config.optimizer) == (
        32,
        1e-3,
        "adam",
    )
    sequences, wanted = draw(3, torch.Generator().manual_seed(0))
    assert sequences.shape == (3, 10, 64)
    for place in range(10):
        assert torch.equal(sequences[:, place], wanted[:, 9 - place])


def test_scores_are_those_of_loops():
    model = SequenceReverser()
    sequences, wanted = held_out(7)
    with torch.no_grad():
        scores = score(model, 7)
        pattern = model.pattern(sequences)
        answer = model(sequences)
    for number in range(7):
        error = sum(
            float((a - b) ** 2)
            for a, b in zip(answer[number].flatten(), wanted[number].flatten(), strict=True)
        )
        assert float(scores["mse"].part[number]) == pytest.approx(error / 640, rel=1e-4)
        for head in range(4):
            mass = sum(float(pattern[number, head, place, 9 - place]) for place in range(10)) / 10
            assert float(scores[f"anti-diagonal mass of head {head}"].part[number]) == pytest.approx(mass)


def test_command_prints_the_mass_and_draws_a_head(tmp_path, capsys):
    assert (
        main(["train", "reverse_sequence", "--epochs", "0.02", "--threads", "1", "--out", str(tmp_path)]) == 0
    )
    said = capsys.readouterr().out
    assert "10 steps in" in said and "mse" in said and "promised mse at most 0.01: MISSED" in said
    assert "anti-diagonal mass of head 0" in said
    assert (tmp_path / "head_pattern.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "head_pattern.svg").read_text().count("<svg") == 1
    picture = mean_pattern(tmp_path, head=2)
    assert picture.weight.shape == (10, 10) and picture.weight.sum(axis=1) == pytest.approx(1, abs=1e-5)
    with pytest.raises(ValueError, match=r"head must lie in 0\.\.3, but got 4"):
        mean_pattern(tmp_path, head=4)


def test_json_is_one_document(tmp_path, capsys):
    main(
        ["train", "reverse_sequence", "--epochs", "0.02", "--threads", "1", "--out", str(tmp_path), "--json"]
    )
    document = json.loads(capsys.readouterr().out)
    assert set(document) == {"run", "scores", "promise", "promise_kept", "seconds"}
    assert document["scores"]["mse"]["n"] == 1000


def test_data_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"examples of reverse_sequence are made up.*got 'folder:x'"):
        run_recipe("reverse_sequence", tmp_path, data="folder:x")
