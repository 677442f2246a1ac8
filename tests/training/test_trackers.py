"""Every tracker's numbers are read back with its own package; none of them opens a connection."""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from archaeology.core.errors import MissingExtraError, UnknownNameError
from archaeology.training.trackers import JsonLines, Tracker, open_trackers, trackers

FACTS = {"recipe": "vit_test", "seed": 3, "config": {"batch_size": 7, "schedule": "cosine"}}
LOGGED = [(50, {"loss": 2.25, "rate": 0.5}), (98, {"test_accuracy_glance": 0.5}), (100, {"loss": 1.75})]


@pytest.fixture
def offline(monkeypatch):
    """Connections to anything but this machine's own sockets fail."""
    connect = socket.socket.connect

    def local_only(self, address):
        is_local = self.family == socket.AF_UNIX or address[0] in ("127.0.0.1", "::1", "localhost")
        assert is_local, f"a tracker wants to reach {address}"
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", local_only)
    for name in [name for name in os.environ if name.startswith(("WANDB_", "MLFLOW_", "TRACKIO_"))]:
        monkeypatch.delenv(name)


def write_all(folder: Path, name: str, *, resume_step: int | None = None, logged=LOGGED) -> None:
    opened = open_trackers(folder, [name], facts=FACTS, resume_step=resume_step)
    assert len(opened) == 2 and all(isinstance(tracker, Tracker) for tracker in opened)
    for tracker in opened:
        for step, numbers in logged:
            tracker.log(step, numbers)
        tracker.close()


def lines_of(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_json_lines_are_always_written_and_not_a_number_becomes_null(tmp_path):
    (tracker,) = open_trackers(tmp_path / "deep" / "run")
    for step, numbers in [*LOGGED, (150, {"loss": float("nan")})]:
        tracker.log(step, numbers)
    assert len(lines_of(tmp_path / "deep" / "run")) == 4  # flushed at once, not only when closed
    tracker.close()
    assert lines_of(tmp_path / "deep" / "run") == [
        {"step": 50, "loss": 2.25, "rate": 0.5},
        {"step": 98, "test_accuracy_glance": 0.5},
        {"step": 100, "loss": 1.75},
        {"step": 150, "loss": None},
    ]


def test_a_resumed_history_drops_what_lies_behind_its_step_and_a_line_cut_in_half(tmp_path):
    path = tmp_path / "metrics.jsonl"
    first = JsonLines(path)
    for step in (50, 100, 150):
        first.log(step, {"loss": step / 100})
    first.close()
    with path.open("a") as file:
        file.write('{"step": 200, "lo')
    second = JsonLines(path, resume_step=100)
    second.log(150, {"loss": 9.0})
    second.close()
    assert [(line["step"], line["loss"]) for line in lines_of(tmp_path)] == [
        (50, 0.5),
        (100, 1.0),
        (150, 9.0),
    ]
    third = JsonLines(path)  # not resumed: starts anew
    third.close()
    assert lines_of(tmp_path) == []


def test_resuming_without_a_history_starts_one(tmp_path):
    tracker = JsonLines(tmp_path / "metrics.jsonl", resume_step=100)
    tracker.log(150, {"loss": 1.0})
    tracker.close()
    assert [line["step"] for line in lines_of(tmp_path)] == [150]


def test_tensorboard_reads_back_what_was_logged(tmp_path, offline):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    write_all(tmp_path, "tensorboard")
    write_all(tmp_path, "tensorboard", resume_step=50, logged=[(100, {"loss": 1.5})])
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [(event.step, event.value) for event in events.Scalars("loss")] == [(50, 2.25), (100, 1.5)]
    assert [event.value for event in events.Scalars("test_accuracy_glance")] == []  # step 98: was purged
    assert "vit_test" in str(events.Tensors("facts/text_summary")[0])


def test_mlflow_reads_back_what_was_logged_and_a_resumed_run_is_the_same_run(tmp_path, offline):
    pytest.importorskip("mlflow")
    write_all(tmp_path, "mlflow")
    from mlflow.tracking import MlflowClient

    write_all(tmp_path, "mlflow", resume_step=100, logged=[(150, {"loss": 1.5})])
    client = MlflowClient(tracking_uri=(tmp_path / "mlflow").as_uri())
    (run,) = client.search_runs([client.get_experiment_by_name("vit_test").experiment_id])
    history = client.get_metric_history(run.info.run_id, "loss")
    assert [(metric.step, metric.value) for metric in history] == [(50, 2.25), (100, 1.75), (150, 1.5)]
    assert run.data.params == {
        "recipe": "vit_test",
        "seed": "3",
        "config.batch_size": "7",
        "config.schedule": "cosine",
    }
    assert run.info.status == "FINISHED" and run.info.run_name == tmp_path.name
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"


def wandb_records(path: Path) -> list:
    """The records of a run file: a LevelDB log, in blocks of 32 KiB, of protocol buffers."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, place, records, pending = path.read_bytes(), 7, [], b""
    while place + 7 <= len(data):
        if 32768 - place % 32768 < 7:
            place += 32768 - place % 32768
            continue
        length, kind = int.from_bytes(data[place + 4 : place + 6], "little"), data[place + 6]
        pending += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # whole, or the last part
            records.append(Record.FromString(pending))
            pending = b""
    return records


def test_wandb_writes_its_history_into_the_run_folder_and_stays_offline(tmp_path, offline):
    pytest.importorskip("wandb")
    write_all(tmp_path, "wandb")
    (path,) = tmp_path.glob("wandb/offline-run-*/*.wandb")
    for _ in range(100):  # its own process writes the end of the file after `finish` has returned
        records = wandb_records(path)
        if any(record.HasField("exit") for record in records):
            break
        time.sleep(0.1)
    history = {}
    for record in records:
        if record.HasField("history"):
            named = {item.key or ".".join(item.nested_key): item for item in record.history.item}
            items = {key: json.loads(item.value_json) for key, item in named.items()}
            history[items["_step"]] = {key: value for key, value in items.items() if not key.startswith("_")}
    assert history == dict(LOGGED)
    (run,) = [record.run for record in records if record.HasField("run")]
    assert (run.project, run.display_name) == ("vit_test", tmp_path.name)
    config = {item.key: json.loads(item.value_json) for item in run.config.update}
    assert config["config.batch_size"] == 7 and config["seed"] == 3


TRACKIO = """
import socket, sys
from pathlib import Path

def refuse(self, address):
    raise AssertionError(f"trackio wants to reach {address}")

socket.socket.connect = refuse
from archaeology.training.trackers import open_trackers

folder = Path(sys.argv[1])
for resume_step, logged in ((None, {50: 2.25, 100: 1.75}), (100, {150: 1.5})):
    opened = open_trackers(folder, ["trackio"], facts={"recipe": "vit_test", "seed": 3}, resume_step=resume_step)
    for step, loss in logged.items():
        for tracker in opened:
            tracker.log(step, {"loss": loss})
    for tracker in opened:
        tracker.close()
from trackio.sqlite_storage import SQLiteStorage

print([(line["step"], line["loss"]) for line in SQLiteStorage.get_logs("vit_test", folder.name)])
"""


def test_trackio_keeps_its_database_here_and_says_nothing_on_stdout(tmp_path):
    pytest.importorskip("trackio")
    mine = {name: value for name, value in os.environ.items() if not name.startswith("TRACKIO_")}
    done = subprocess.run(
        [sys.executable, "-c", TRACKIO, str(tmp_path / "run")],
        capture_output=True,
        text=True,
        check=False,
        env={**mine, "TRACKIO_DIR": str(tmp_path / "trackio")},
    )
    assert done.stdout == "[(50, 2.25), (100, 1.75), (150, 1.5)]\n", done.stderr
    assert (tmp_path / "trackio" / "vit_test.db").is_file()


@pytest.mark.parametrize("name", list(trackers))
def test_a_missing_package_names_the_extra_and_leaves_nothing_open(name, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, "mlflow.tracking", None)
    with pytest.raises(MissingExtraError, match=rf"{name}.*attention-archaeology\[track\]"):
        open_trackers(tmp_path / "run", [name], facts=FACTS)
    assert not (tmp_path / "run" / "metrics.jsonl").exists()


def test_a_misspelt_tracker_gets_the_near_miss(tmp_path):
    with pytest.raises(UnknownNameError, match="did you mean 'tensorboard'"):
        open_trackers(tmp_path, ["tensorbord"])
