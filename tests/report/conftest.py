import importlib.util
import sys
from pathlib import Path

import pytest

from archaeology.core.storage import write_json
from archaeology.dig.directory import RunDirectory
from archaeology.report.content import report_of
from archaeology.report.write import write_report


def load(beside):
    """A module beside this file; test folders are not packages, so it is loaded by its path."""
    name = f"archaeology_{beside}"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{beside}.py"))
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name]


@pytest.fixture(scope="session")
def made_up():
    """The module that makes up run directories."""
    return load("fixture_run")


@pytest.fixture(scope="session")
def made_up_survey():
    """The module that makes up surveys of robustness."""
    return load("fixture_robustness")


@pytest.fixture(scope="session")
def made_up_layers():
    """The module that makes up surveys of layers."""
    return load("fixture_representation")


@pytest.fixture(scope="session")
def made_up_apart():
    """The module that makes up failures taken apart."""
    return load("fixture_dissection")


@pytest.fixture(scope="session")
def small_run(made_up, tmp_path_factory):
    """6 layers of 4 heads on 8 x 8 patches of 32-pixel images, with labels."""
    return made_up.write_run(tmp_path_factory.mktemp("runs") / "small")


@pytest.fixture(scope="session")
def small_report(small_run):
    """The content of its report."""
    return report_of(RunDirectory(small_run))


@pytest.fixture(scope="session")
def small_folder(small_run):
    """The same run with its report written."""
    write_report(small_run)
    return small_run


@pytest.fixture(scope="session")
def plain_run(made_up, tmp_path_factory):
    """An older run: no leaderboard, labels of heads, pruning or ablated layers."""
    plan = made_up.Plan(forensics=False, full_attention=False, num_images=60)
    return made_up.write_run(tmp_path_factory.mktemp("runs") / "plain", plan)


@pytest.fixture(scope="session")
def attacked_run(made_up, made_up_survey, made_up_layers, made_up_apart, tmp_path_factory):
    """A run whose models were attacked, whose layers were asked, and whose failures were taken apart."""
    plan = made_up.Plan(full_attention=False, num_images=60)
    folder = made_up.write_run(tmp_path_factory.mktemp("runs") / "attacked", plan)
    write_json(folder / "robustness.json", made_up_survey.made_up_document())
    write_json(folder / "representation.json", made_up_layers.made_up_layers())
    made_up_apart.write_dissection(folder)
    return folder


@pytest.fixture(scope="session")
def unlabelled_run(made_up, tmp_path_factory):
    """The same without labels and without a class token."""
    plan = made_up.Plan(labelled=False, prefix=(), num_images=60, full_attention=False, seed=1)
    return made_up.write_run(tmp_path_factory.mktemp("runs") / "unlabelled", plan)


@pytest.fixture(scope="session")
def large_run(made_up, tmp_path_factory):
    """12 layers of 12 heads on 14 x 14 patches of 224-pixel images."""
    return made_up.write_run(tmp_path_factory.mktemp("runs") / "large", made_up.LARGE)
