"""Colours of the explorer are matplotlib's, in the file and in the browser, and can be told apart by everybody."""

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib import colormaps

ROOT = Path(__file__).resolve().parents[2]
SEQUENTIAL = ("viridis", "cividis", "magma")
DIVERGING = "RdBu_r"
MACHADO = {  # linear light as full dichromats see it (Machado, Oliveira and Fernandes, 2009)
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}  # fmt: skip


@pytest.fixture(scope="module")
def module(static):
    return (static / "colours.js").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def tables(module):
    """The 256 x 3 bytes of each map, as they stand in the file."""
    import base64

    found = dict(re.findall(r'decodedTable\("([^"]+)"\); // (\w+)$', module, flags=re.M))
    return {
        name: np.frombuffer(base64.urlsafe_b64decode(text), np.uint8).reshape(256, 3)
        for text, name in found.items()
    }


def linear(table):
    shares = table / 255
    return np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)


def lab(light):
    """CIE L*a*b* under D65."""
    matrix = [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]
    xyz = np.clip(light, 0, 1) @ np.array(matrix).T / [0.95047, 1, 1.08883]
    root = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.stack(
        [116 * root[:, 1] - 16, 500 * (root[:, 0] - root[:, 1]), 200 * (root[:, 1] - root[:, 2])], 1
    )


@pytest.mark.parametrize("name", [*SEQUENTIAL, DIVERGING])
def test_a_table_is_matplotlibs(tables, name):
    assert sorted(tables) == sorted([*SEQUENTIAL, DIVERGING])
    assert np.array_equal(tables[name], colormaps[name](np.arange(256), bytes=True)[:, :3])


def test_the_command_writes_the_module_as_it_is(module, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    spec = importlib.util.spec_from_file_location("docs_colours", ROOT / "docs" / "colours.py")
    command = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(command)
    emptied = re.sub(r'decodedTable\("[^"]+"\)', 'decodedTable("")', module)
    assert emptied != module
    assert command.written(emptied) == module, "run: python docs/colours.py"
    sys.modules.pop("generate", None)


@pytest.mark.parametrize("name", SEQUENTIAL)
def test_lightness_of_an_amount_rises(tables, name):
    lightness = lab(linear(tables[name]))[:, 0]
    assert np.diff(lightness).min() > -0.05  # bytes round by less
    assert lightness[-1] - lightness[0] > 70


def test_lightness_of_signs_rises_to_zero_and_falls_alike(tables):
    lightness = lab(linear(tables[DIVERGING]))[:, 0]
    assert np.diff(lightness[:128]).min() > 0 > np.diff(lightness[128:]).max()
    assert np.abs(lightness - lightness[::-1]).max() < 5
    assert lightness[127:129].min() > 95


@pytest.mark.parametrize("eyes", MACHADO)
def test_everybody_tells_below_from_above_zero(tables, eyes):
    seen = lab(linear(tables[DIVERGING]) @ np.array(MACHADO[eyes]).T)
    apart = np.linalg.norm(seen[:128] - seen[::-1][:128], axis=1)
    shown = np.arange(128) < 102  # more than a fifth of the largest away from zero
    assert apart[shown].min() > 10, "steps of about 2 are just seen"


@pytest.mark.parametrize("eyes", MACHADO)
@pytest.mark.parametrize("name", SEQUENTIAL)
def test_everybody_sees_an_amount_rise(tables, name, eyes):
    seen = lab(linear(tables[name]) @ np.array(MACHADO[eyes]).T)[:, 0]
    assert np.diff(seen[::8]).min() > 0


def run_module(node, static, script):
    text = f'import * as colours from "{(static / "colours.js").as_uri()}";\n{script}'
    command = [node, "--no-warnings", "--input-type=module", "-e", text]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout)


def test_painting(node, static, tables):
    painted = run_module(node, static, """
        const values = [0, 0.5, 1, NaN, -3, 9];
        const out = colours.paint(values, 0, 1, colours.MAPS.viridis);
        const flat = colours.paint([2, NaN], 2, 2, colours.MAPS.magma, new Uint8Array(8));
        console.log(JSON.stringify([Array.from(out), Array.from(flat)]));
    """)  # fmt: skip
    pixels = np.array(painted[0]).reshape(-1, 4)
    assert (pixels[3] == 0).all() and (np.delete(pixels[:, 3], 3) == 255).all()
    expected = tables["viridis"][[0, 128, 255, 0, 255]]
    assert np.array_equal(np.delete(pixels, 3, 0)[:, :3], expected)
    assert painted[1] == [*tables["magma"][0].tolist(), 255, 0, 0, 0, 0]
