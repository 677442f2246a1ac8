"""A process among two is killed: torchrun starts both again, or a person does, and nothing is lost but minutes."""

import functools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

SCRIPT = Path(__file__).with_name("specimens.py")
DIE_AT = 0.65  # in the third of four epochs; the state is that of the end of the second


def torchrun(folder: Path, *, max_restarts: int = 0, **options) -> subprocess.CompletedProcess[str]:
    """Two processes train in `folder`."""
    folder.mkdir(exist_ok=True)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    launch = (
        "--standalone",
        "--nproc-per-node=2",
        f"--max-restarts={max_restarts}",
        "--monitor-interval=0.1",
    )
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "torch.distributed.run",
            *launch,
            str(SCRIPT),
            str(folder),
            json.dumps(options),
        ],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )


def same(one: Path, other: Path) -> bool:
    """Bit for bit."""
    ours, theirs = (load_file(folder / "final.safetensors") for folder in (one, other))
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def begun(folder: Path) -> list[float]:
    """The progress at which every step began, of all attempts."""
    return [float(line) for line in (folder / "progress.txt").read_text().split()]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """From how weights are spread to the folder of a training that nobody killed."""

    @functools.cache
    def trained(parallel: str) -> Path:
        folder = tmp_path_factory.mktemp(parallel)
        done = torchrun(folder, parallel=parallel)
        assert done.returncode == 0, done.stderr[-3000:]
        assert len(begun(folder)) == 12
        return folder

    return trained


def check_went_on(folder: Path, whole: Path) -> None:
    steps = begun(folder)
    back = [number for number in range(1, len(steps)) if steps[number] < steps[number - 1]]
    assert len(back) == 1 and (folder / "died").exists()
    assert steps[back[0] - 1] >= DIE_AT
    assert steps[back[0]] == 0.5  # from the last state, not from the beginning
    assert same(folder, whole)


@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_a_killed_process_is_started_again_and_all_go_on(undisturbed, tmp_path, parallel):
    done = torchrun(tmp_path, max_restarts=1, parallel=parallel, die_at=DIE_AT)
    assert done.returncode == 0, done.stderr[-3000:]
    check_went_on(tmp_path, undisturbed(parallel))


def test_where_it_may_not_start_again_the_same_command_goes_on_later(undisturbed, tmp_path):
    killed = torchrun(tmp_path, parallel="ddp", die_at=DIE_AT)
    assert killed.returncode != 0 and "SIGKILL" in killed.stderr
    assert not (tmp_path / "final.safetensors").exists()
    done = torchrun(tmp_path, parallel="ddp", die_at=DIE_AT)
    assert done.returncode == 0, done.stderr[-3000:]
    check_went_on(tmp_path, undisturbed("ddp"))
