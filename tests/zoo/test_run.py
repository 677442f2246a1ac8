"""A measurement from start to end at tiny lengths: rows, going on after a stop, skips, refusals."""

import json
from dataclasses import replace
from itertools import pairwise

import pytest

from archaeology.core.errors import UnknownNameError
from archaeology.core.memory import can_measure_memory
from archaeology.zoo import run as module
from archaeology.zoo.config import ZooConfig
from archaeology.zoo.directory import ZooRun
from archaeology.zoo.measurements import Measurements
from archaeology.zoo.memory import MemoryChild
from archaeology.zoo.run import chosen, measure_zoo
from archaeology.zoo.subject import STEPS, subject

TINY = {"lengths": (16, 24), "heads": 2, "head_dim": 4, "rounds": 2, "draws": 1, "tune_allocation": False}
NAMES = ("sparsemax",)


@pytest.fixture
def config(tmp_path):
    return ZooConfig(**TINY, mechanisms=NAMES, out=tmp_path / "zoo")


@pytest.fixture
def no_child(monkeypatch):
    """Without starting the process that measures memory."""
    monkeypatch.setattr(MemoryChild, "ask", lambda self, name, length: dict.fromkeys(STEPS, 2.0 * length))


def test_every_number_asked_for_is_there(config, no_child):
    run = measure_zoo(config)
    assert run.names == ["softmax", "sparsemax"]
    rows = list(run.measurements)
    for name in run.names:
        for length in config.lengths:
            for step in STEPS:
                assert len(run.measurements.values(name, length, "seconds", step)) == config.rounds
                assert run.measurements.values(name, length, "mebibytes", step) == [2.0 * length]
    wrong = [row for row in rows if row.quantity == "relative error"]
    assert {row.mechanism for row in wrong} == {
        "mean of values",
        "softmax",
    }  # sparsemax means to be something else
    assert len(wrong) == 2 * 2 * 2 * 2 * config.heads  # names, lengths, kinds, sharpness
    assert all(row.value > 0 for row in rows)
    document = json.loads((config.out / "run.json").read_text())
    assert document["status"] == "complete" and document["skipped"] == []
    assert document["sessions"][0]["versions"]["torch"]
    assert {cost.mechanism for cost in run.summary.costs} == set(run.names)


def test_after_a_stop_only_the_rest_is_measured(config, no_child, monkeypatch):
    seconds, calls = module._seconds, []

    def stopping(run, clock):
        calls.append(1)
        if len(calls) == 7:
            raise KeyboardInterrupt
        return seconds(run, clock)

    monkeypatch.setattr(module, "_seconds", stopping)
    with pytest.raises(KeyboardInterrupt):
        measure_zoo(config)
    kept = list(Measurements(config.out / "measurements.parquet"))
    with pytest.raises(ValueError, match=r"holds no run\.json"):
        ZooRun(config.out)
    calls.clear()
    monkeypatch.setattr(module, "_seconds", lambda run, clock: calls.append(1) or seconds(run, clock))
    rows = list(measure_zoo(config).measurements)
    assert rows[: len(kept)] == kept
    timed = 2 * 2 * config.rounds * len(STEPS)  # names, lengths
    assert len(calls) == timed - sum(row.quantity == "seconds" for row in kept)
    assert len(
        {(r.mechanism, r.length, r.quantity, r.step, r.input, r.score_std, r.repeat, r.head) for r in rows}
    ) == len(rows)


def test_a_finished_folder_is_read_and_not_measured_again(config, no_child, monkeypatch):
    first = measure_zoo(config)
    monkeypatch.setattr(module, "_seconds", None)
    monkeypatch.setattr(module, "errors", None)
    again = measure_zoo(config)
    assert list(again.measurements) == list(first.measurements)
    assert len(again.run["sessions"]) == 1


def test_lengths_can_be_added_to_a_folder(config, no_child):
    measure_zoo(config)
    longer = measure_zoo(config.model_copy(update={"lengths": (16, 24, 40)}))
    assert longer.summary.costs[0].lengths == [16, 24, 40]
    assert len(longer.run["sessions"]) == 2


def test_a_folder_measured_in_another_way_is_refused(config, no_child):
    measure_zoo(config)
    with pytest.raises(ValueError, match="made in another way: head_dim was 4 and is 8"):
        measure_zoo(config.model_copy(update={"head_dim": 8}))


def test_a_folder_of_something_else_is_left_alone(config):
    config.out.mkdir()
    (config.out / "photo.jpg").write_text("mine")
    with pytest.raises(ValueError, match="must be a new folder"):
        measure_zoo(config)


def test_what_is_too_slow_is_skipped_by_name_and_at_all_longer_lengths(config, no_child, monkeypatch, capsys):
    monkeypatch.setattr(module, "_seconds", lambda run, clock: 5.0)
    run = measure_zoo(config.model_copy(update={"lengths": (16, 24, 40), "patience": 6.0}))
    assert {(skip["mechanism"], skip["length"]) for skip in run.run["skipped"]} == {
        ("softmax", 24),
        ("sparsemax", 24),
    }
    assert "sparsemax is skipped at 24 tokens: a step would take about 11 s" in capsys.readouterr().err
    assert {row.length for row in run.measurements if row.quantity == "seconds"} == {16}


def test_what_is_too_large_is_skipped(config, no_child, monkeypatch):
    monkeypatch.setattr(module, "available_mebibytes", lambda: 50.0)
    run = measure_zoo(config)
    assert {skip["length"] for skip in run.run["skipped"]} == {24}
    assert "GiB of memory" in run.run["skipped"][0]["reason"]


def test_a_child_that_dies_is_a_skip_and_not_the_end(config, monkeypatch):
    def dying(self, name, length):
        raise MemoryError("the process that measures memory ended with code -9")

    monkeypatch.setattr(module, "can_measure_memory", lambda: True)
    monkeypatch.setattr(MemoryChild, "ask", dying)
    run = measure_zoo(config.model_copy(update={"lengths": (16,)}))
    assert {skip["reason"] for skip in run.run["skipped"]} == {
        "the process that measures memory ended with code -9"
    }


def test_without_a_high_water_mark_there_is_no_memory_and_all_else(config, monkeypatch):
    monkeypatch.setattr(module, "can_measure_memory", lambda: False)
    run = measure_zoo(config)
    assert {row.quantity for row in run.measurements} == {"seconds", "relative error"}


@pytest.mark.slow
@pytest.mark.skipif(not can_measure_memory(), reason="only Linux keeps a high-water mark")
def test_the_child_measures_the_pattern_that_sparsemax_writes_down(config):
    with MemoryChild(config) as child:
        found = child.ask("sparsemax", 2048)
        assert found["forward"] > 2 * 2048**2 * 4 / 2**20  # two heads, float32
        child.stop()
        assert child.ask("softmax", 2048)["forward"] < found["forward"] / 4


@pytest.mark.slow
def test_a_child_that_cannot_do_it_is_a_memory_error(config):
    with MemoryChild(config) as child, pytest.raises(MemoryError, match="ended with code"):
        child.ask("no_such_mechanism", 16)


def test_dense_attention_is_always_there_and_first(config):
    assert chosen(config) == ["softmax", "sparsemax"]
    assert chosen(config.model_copy(update={"mechanisms": ("sparsemax", "softmax", "sparsemax")})) == chosen(
        config
    )


def test_unknown_mechanisms_are_refused_before_a_folder_is_made(config):
    with pytest.raises(UnknownNameError, match="did you mean 'entmax15'"):
        measure_zoo(config.model_copy(update={"mechanisms": ("entmax",)}))
    assert not config.out.exists()


def test_a_layer_is_not_measured_and_says_why(config):
    with pytest.raises(ValueError, match="'latent' is a whole layer"):
        chosen(config.model_copy(update={"mechanisms": ("latent",)}))


@pytest.mark.parametrize("lengths", [(), (0, 5), (5, 5), (7, 5)])
def test_lengths_must_grow(lengths):
    with pytest.raises(ValueError, match="that grow"):
        ZooConfig(lengths=lengths)


def test_a_step_gives_gradients_of_inputs_and_parameters(config):
    made = subject("softmax", 16, config)
    query, key, value = made.forward_and_backward()
    assert query.shape == key.shape == value.shape == (1, 2, 16, 4)
    assert made.given.query.grad is None and not made.given.query.requires_grad
    assert not made.forward().requires_grad


def test_another_seed_builds_another_mechanism_with_the_global_state_untouched(config):
    import torch

    before = torch.get_rng_state()
    first, again = (subject("performer", 16, config).forward() for _ in range(2))
    other = subject("performer", 16, config.model_copy(update={"seed": 1})).forward()
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_number_of_threads_is_given_back(config, no_child):
    import torch

    before = torch.get_num_threads()
    measure_zoo(config.model_copy(update={"lengths": (16,), "threads": before + 1}))
    assert torch.get_num_threads() == before


def test_rows_are_found_again(tmp_path):
    from archaeology.zoo.measurements import time_row

    rows = Measurements(tmp_path / "rows.parquet")
    row = time_row("softmax", 16, "forward", 0, 0.5)
    rows.add([row, replace(row, repeat=1, value=0.25)])
    rows.add([])
    found = Measurements(tmp_path / "rows.parquet")
    assert (
        list(found) == list(rows)
        and found.has("softmax", 16, "seconds", 1)
        and not found.has("softmax", 16, "x", 0)
    )
    assert found.values("softmax", 16, "seconds", "forward") == [0.5, 0.25]
    assert all(first.repeat < second.repeat for first, second in pairwise(found))
