import json

import numpy as np
import pyarrow as pa
import pytest

from archaeology.core.storage import write_arrays, write_json, write_table
from archaeology.dig.directory import SCHEMA_VERSION, RunDirectory


@pytest.fixture
def finished(tmp_path):
    write_table(tmp_path / "images.parquet", [{"id": "a.png", "label": 3}])
    write_table(tmp_path / "heads.parquet", [{"layer": 0, "head": 1, "entropy": 2.5}])
    write_table(tmp_path / "metrics.parquet", [{"model": "vit", "metric": "accuracy", "value": 0.5}])
    write_json(tmp_path / "results.json", {"n": 7})
    zeros = np.zeros((2, 3, 5, 7), np.uint8)
    write_arrays(
        tmp_path / "specimens.zarr", {"pixels": (zeros, ("image", "channel", "height", "width"))}, {}
    )
    write_json(tmp_path / "run.json", {"schema_version": SCHEMA_VERSION, "status": "complete", "models": {}})
    return tmp_path


def test_every_part_is_read(finished):
    run = RunDirectory(finished)
    assert run.path == finished
    assert run.run["models"] == {}
    assert run.results["n"] == 7
    assert isinstance(run.images, pa.Table) and run.images.column("label").to_pylist() == [3]
    assert run.heads.column("entropy").to_pylist() == [2.5]
    assert run.metrics.column("value").to_pylist() == [0.5]
    assert run.specimens["pixels"].shape == (2, 3, 5, 7)


def test_norms_of_older_runs_are_read_as_those_of_newer_ones(finished):
    write_json(finished / "representation.json", {"outliers": [{"specimen": "vit"}]})
    assert RunDirectory(finished).representation["outliers"] == {
        "models": [{"specimen": "vit"}],
        "missing": {},
    }


def test_a_path_may_be_text_and_is_shown(finished):
    assert str(finished) in repr(RunDirectory(str(finished)))


def test_parts_are_read_only_when_asked_for(finished):
    (finished / "heads.parquet").unlink()
    run = RunDirectory(finished)
    assert run.results["n"] == 7
    with pytest.raises(
        FileNotFoundError, match=r"must hold heads\.parquet.*does not; restore it or dig again"
    ):
        _ = run.heads


@pytest.mark.parametrize("part", ["results.json", "images.parquet", "metrics.parquet", "specimens.zarr"])
def test_every_missing_part_is_named(finished, part):
    (finished / part).rename(finished / "elsewhere")
    run = RunDirectory(finished)
    with pytest.raises(FileNotFoundError, match=f"must hold {part}"):
        getattr(run, part.split(".")[0])


def test_a_missing_folder_says_how_to_make_one(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no folder .*nowhere; check the path, or make one with"):
        RunDirectory(tmp_path / "nowhere")


def test_an_unfinished_dig_says_how_to_go_on(tmp_path):
    with pytest.raises(
        ValueError, match=r"holds no run\.json.*start the same `archaeology dig` command again"
    ):
        RunDirectory(tmp_path)


def test_another_status_is_refused(finished):
    write_json(finished / "run.json", {"schema_version": SCHEMA_VERSION, "status": "running"})
    with pytest.raises(ValueError, match=r"must be complete, but the status .* is 'running'"):
        RunDirectory(finished)


@pytest.mark.parametrize("version", [SCHEMA_VERSION + 1, None])
def test_another_schema_version_is_refused(finished, version):
    write_json(finished / "run.json", {"schema_version": version, "status": "complete"})
    with pytest.raises(
        ValueError, match=rf"reads runs of schema version {SCHEMA_VERSION}, but .* has {version}"
    ):
        RunDirectory(finished)


def test_a_broken_run_json_names_the_file(finished):
    (finished / "run.json").write_text(json.dumps({"a": 1})[:-1])
    with pytest.raises(ValueError, match=r"run\.json must hold JSON"):
        RunDirectory(finished)
