"""The page for Spaces is built and asked, without a server and without the network."""

import builtins
import json
import re
import subprocess
import sys
from html import unescape
from importlib.util import find_spec

import numpy as np
import pytest

from archaeology.core.errors import MissingExtraError
from archaeology.explorer.gradio_space import WAITING, frame_of, space

# In a process of its own: Gradio leaves an event loop and its sockets behind.
ASK = """
import json, socket
import numpy as np
asked = []
def connect(self, place):
    asked.append(str(place))
    raise OSError("no network here")
socket.socket.connect = connect
from archaeology.explorer.gradio_space import space
blocks = space()
(look,) = [one.fn for one in blocks.fns.values() if one.api_name == "look"]
shown = look(np.full((30, 40, 3), 127, np.uint8))
kinds = sorted(type(one).__name__ for one in blocks.blocks.values())
print(json.dumps([asked, blocks.analytics_enabled, shown, look(None), kinds]))
"""


@pytest.mark.slow
@pytest.mark.skipif(find_spec("gradio") is None, reason="needs the extra spaces")
def test_an_upload_becomes_an_explorer():
    done = subprocess.run(
        [sys.executable, "-c", ASK], capture_output=True, text=True, check=False, timeout=240
    )
    assert done.returncode == 0, done.stderr
    asked, analytics, shown, nothing, kinds = json.loads(done.stdout.splitlines()[-1])
    assert asked == [] and analytics is False and nothing == WAITING
    assert {"Image", "HTML"} <= set(kinds)
    document = unescape(re.search(r'srcdoc="([^"]*)"', shown)[1])
    assert "default-src 'none'" in unescape(document) and "mount(" in document


def test_what_cannot_be_shown_is_said(flat, monkeypatch):
    assert frame_of({"vit": flat}, np.zeros((20, 30, 3), np.uint8)).startswith("<iframe")

    def refuse(*_):
        raise ValueError("its <b> weights are broken.")

    monkeypatch.setattr("archaeology.explorer.gradio_space.subjects_of", refuse)
    shown = frame_of({"vit": flat}, np.zeros((20, 30, 3), np.uint8))
    assert shown == "<p>This image cannot be shown: its &lt;b&gt; weights are broken.</p>"


def test_without_gradio_it_says_how_to_install_it(monkeypatch):
    imported = builtins.__import__

    def without(name, *rest, **options):
        if name == "gradio":
            raise ModuleNotFoundError(name)
        return imported(name, *rest, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtraError, match=r"attention-archaeology\[spaces\]"):
        space()
