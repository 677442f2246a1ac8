"""A training that was stopped ends where one ends that never was: bit for bit, from whole files only."""

import errno
import json

import pytest
import torch
from tests.training import specimens
from tests.training.specimens import KilledError, tiny_training

from archaeology.training import session
from archaeology.training.config import TrainConfig
from archaeology.training.runtime import Runtime
from archaeology.training.state import LATEST, find_position

ALONE = Runtime(torch.device("cpu"))
TRICKY = {"optimizer": "muon", "ema": 0.9, "accumulate": 2, "patch_keep": [[0.0, 0.6]], "clip": 0.5}


def weights(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same(one, other):
    return all(torch.equal(one[name], other[name]) for name in one) and one.keys() == other.keys()


@pytest.mark.parametrize("options", [{}, TRICKY, {"dtype": "float16"}], ids=["plain", "tricky", "scaled"])
@pytest.mark.parametrize(
    "stop_at", [0.3, 0.75], ids=["within the second epoch", "at the start of the fourth"]
)
def test_stopped_and_never_stopped_end_alike(tmp_path, options, stop_at):
    whole, _ = tiny_training(None, ALONE, **options)
    with pytest.raises(KilledError):
        tiny_training(tmp_path, ALONE, stop_at=stop_at, **options)
    resumed, taken = tiny_training(tmp_path, ALONE, **options)
    assert same(weights(whole), weights(resumed))
    assert taken.steps == 12 and taken.images == 12 * 16


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_part_that_no_loss_reaches_has_no_state_and_stops_nothing(tmp_path, monkeypatch, optimizer):
    plain = specimens.tiny_model

    def with_spare_head():
        model = plain()
        model.spare = torch.nn.Linear(4, 4)
        return model

    monkeypatch.setattr(specimens, "tiny_model", with_spare_head)
    whole, _ = tiny_training(None, ALONE, optimizer=optimizer)
    with pytest.raises(KilledError):
        tiny_training(tmp_path, ALONE, stop_at=0.5, optimizer=optimizer)
    resumed, _ = tiny_training(tmp_path, ALONE, optimizer=optimizer)
    assert same(weights(whole), weights(resumed))


def test_a_state_within_an_epoch_goes_on_with_the_next_batch(tmp_path):
    whole, _ = tiny_training(None, ALONE)
    with pytest.raises(KilledError):
        tiny_training(tmp_path, ALONE, stop_at=0.4, save_every=1e-9)
    assert json.loads((tmp_path / "state" / LATEST).read_text())["position"]["step"] == 5
    resumed, _ = tiny_training(tmp_path, ALONE, save_every=1e-9)
    assert same(weights(whole), weights(resumed))


def test_only_the_last_state_is_kept(tmp_path):
    with pytest.raises(KilledError):
        tiny_training(tmp_path, ALONE, stop_at=0.9)
    assert [path.name for path in (tmp_path / "state").glob("step-*")] == ["step-000000009"]


def test_nothing_in_a_state_is_a_pickle(tmp_path):
    with pytest.raises(KilledError):
        tiny_training(tmp_path, ALONE, stop_at=0.5)
    kinds = {path.suffix for path in (tmp_path / "state").rglob("*") if path.is_file()}
    assert kinds == {".json", ".safetensors"}


def test_other_options_are_refused_and_nothing_is_lost(tmp_path):
    with pytest.raises(KilledError):
        tiny_training(tmp_path, ALONE, stop_at=0.5)
    with pytest.raises(ValueError, match=r"it began with learning_rate=0\.01 instead of 0\.5; .*--restart"):
        tiny_training(tmp_path, ALONE, learning_rate=0.5)
    assert find_position(tmp_path / "state", {}).step == 6


def test_threads_may_differ(tmp_path):
    with pytest.raises(KilledError):
        tiny_training(tmp_path, ALONE, stop_at=0.5)
    _, taken = tiny_training(tmp_path, ALONE, threads=1, log_every=2)
    assert taken.steps == 12


def test_a_truncated_state_is_told(tmp_path):
    with pytest.raises(KilledError):
        tiny_training(tmp_path, ALONE, stop_at=0.5)
    (file,) = (tmp_path / "state").rglob("*.safetensors")
    file.write_bytes(file.read_bytes()[:-1000])
    with pytest.raises(ValueError, match="must hold the whole state of this training, but cannot be read"):
        tiny_training(tmp_path, ALONE)


def test_a_full_disk_keeps_the_state_before(tmp_path, monkeypatch):
    from archaeology.training import state

    saved, real = [], state.save

    def full(*arguments, **keywords):
        saved.append(1)
        if len(saved) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(*arguments, **keywords)

    monkeypatch.setattr(state, "save", full)
    with pytest.raises(OSError, match="what was saved before is kept: make room and give the same command"):
        tiny_training(tmp_path, ALONE)
    monkeypatch.undo()
    assert find_position(tmp_path / "state", {}).step == 6
    whole, _ = tiny_training(None, ALONE)
    resumed, _ = tiny_training(tmp_path, ALONE)
    assert same(weights(whole), weights(resumed))


def test_an_epoch_without_batches_is_an_error():
    model = torch.nn.Linear(2, 2)
    with pytest.raises(ValueError, match="An epoch must have 2 batches, but has only 0"):
        session_train = session.Session(
            model, 2, TrainConfig(device="cpu"), ALONE, torch.nn.functional.cross_entropy, (), None, {}
        )
        session_train.train(lambda _: [], None, None)
