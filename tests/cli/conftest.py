import pytest

from archaeology.cli.main import main


@pytest.fixture
def run(capsys):
    """What the command line answers: exit code, standard output, standard error."""

    def told(*words):
        try:
            code = main([str(word) for word in words])
        except SystemExit as stop:  # tyro's own exits
            code = stop.code
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return told
