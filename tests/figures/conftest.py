import importlib.util
import sys
from pathlib import Path

import pytest

BESIDE = Path(__file__).resolve().parents[1] / "report" / "fixture_run.py"


@pytest.fixture(scope="session")
def made_up():
    """The module that makes up run directories; test folders are not packages, so it is loaded by its path."""
    name = "archaeology_fixture_run"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, BESIDE)
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name]


@pytest.fixture(scope="session")
def small_run(made_up, tmp_path_factory):
    """6 layers of 4 heads, 200 images with labels."""
    return made_up.write_run(tmp_path_factory.mktemp("runs") / "small", made_up.Plan(full_attention=False))


@pytest.fixture(scope="session")
def unlabelled_run(made_up, tmp_path_factory):
    """No labels and no class token."""
    plan = made_up.Plan(labelled=False, prefix=(), num_images=60, full_attention=False, seed=1)
    return made_up.write_run(tmp_path_factory.mktemp("runs") / "unlabelled", plan)
