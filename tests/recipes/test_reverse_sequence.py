"""The toy task keeps its promise, its pattern is the anti-diagonal, and what is saved is what was measured."""

import json

import pytest
import torch

from archaeology.cli.main import main
from archaeology.core.storage import read_tensors
from archaeology.figures import head_pattern
from archaeology.models.reverser import SequenceReverser
from archaeology.recipes import recipes, run_recipe
from archaeology.recipes.reverse_sequence import draw, readings


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_promise(seed, tmp_path):
    result = run_recipe("reverse_sequence", tmp_path, overrides={"seed": seed, "threads": 1})
    assert result.error.high < 0.01 and result.error.n == 1000 and result.steps == 500
    assert min(result.readings.values()) > 0.9
    kept = read_tensors(tmp_path / "pattern.safetensors")["pattern"]
    assert readings(kept) == result.readings
    model = SequenceReverser()
    model.load_state_dict(read_tensors(tmp_path / "model.safetensors"))
    sequences, wanted = draw(50, torch.Generator().manual_seed(9))
    with torch.inference_mode():
        assert float((model(sequences) - wanted).square().mean()) < 0.01
    steps = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert steps[-1]["step"] == 500 and steps[-1]["loss"] < steps[0]["loss"]


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


def test_readings_of_known_patterns():
    mirror = torch.eye(10).flip(-1)
    assert list(readings(torch.stack([mirror, torch.full((10, 10), 0.1)])).values()) == pytest.approx(
        [1.0, 0.1]
    )


def test_command_prints_the_mass_and_draws_head_0(tmp_path, capsys):
    assert (
        main(["train", "reverse_sequence", "--epochs", "0.02", "--threads", "1", "--out", str(tmp_path)]) == 0
    )
    said = capsys.readouterr().out
    assert "mean squared error" in said and "after 10 steps" in said
    assert "anti-diagonal mass of head 0: 0." in said
    assert (tmp_path / "head_0.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "head_0.svg").read_text().count("<svg") == 1
    picture = head_pattern.compute(tmp_path, head=2)
    assert picture.weight.shape == (10, 10) and picture.weight.sum(axis=1) == pytest.approx(1, abs=1e-5)
    with pytest.raises(ValueError, match=r"head must lie in 0\.\.3, but got 4"):
        head_pattern.compute(tmp_path, head=4)


def test_json_is_one_document(tmp_path, capsys):
    main(
        ["train", "reverse_sequence", "--epochs", "0.02", "--threads", "1", "--out", str(tmp_path), "--json"]
    )
    document = json.loads(capsys.readouterr().out)
    assert set(document) == {"run", "mean_squared_error", "readings", "seconds"}
    assert document["mean_squared_error"]["n"] == 1000


def test_data_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"sequences of reverse_sequence are made up.*got 'folder:x'"):
        run_recipe("reverse_sequence", tmp_path, data="folder:x")
