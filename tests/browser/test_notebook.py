"""The explorer at the end of a notebook's cell: in a frame of its own, quiet, reachable, drawn."""

import nbformat
import pytest
from nbclient import NotebookClient

pytestmark = [pytest.mark.browser, pytest.mark.slow]

CELL = """
import torch
import archaeology
images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
archaeology.explore("bundled:vit_cue_conflict", images, labels=["<img src=x onerror=alert(1)>", "disc"])
"""
PAGE = """<!doctype html><html lang="en"><head><meta charset="latin-1"><title>Notebook</title>
<link rel="icon" href="data:,"><style>.jp-RenderedHTML * {{ color: red; margin: 3px }}</style></head>
<body class="jp-Notebook"><main><h1>Notebook</h1><div class="jp-OutputArea-output jp-RenderedHTML">{output}</div>
</main></body></html>"""


@pytest.fixture(scope="module")
def site(serving, tmp_path_factory):
    """A page with what the cell shows, as a notebook puts it among its own styles."""
    cell = nbformat.v4.new_code_cell(CELL)
    notebook = nbformat.v4.new_notebook(cells=[cell])
    NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
    shown = [
        one.data["text/html"] for one in notebook.cells[0].outputs if one.output_type == "execute_result"
    ]
    folder = tmp_path_factory.mktemp("notebook")
    (folder / "notebook.html").write_text(PAGE.format(output="".join(shown)), encoding="latin-1")
    return serving(folder) + "notebook.html"


@pytest.fixture
def framed(watching, site):
    """The page, and its frame once the explorer has drawn."""

    def open_page(**settings):
        page = watching(site, **settings)
        frame = page.frame_locator("iframe")
        frame.locator(".aa-explorer .aa-screen").first.wait_for(timeout=60_000)
        return page, frame

    return open_page


def test_a_cell_shows_the_explorer(framed):
    page, frame = framed()
    before = frame.locator("figcaption").first.inner_text()
    frame.locator(".aa-screen").first.click(position={"x": 200, "y": 200})
    page.wait_for_timeout(300)
    assert frame.locator("figcaption").first.inner_text() != before
    assert (
        frame.locator("figcaption").first.evaluate("one => getComputedStyle(one).color") != "rgb(255, 0, 0)"
    )


def test_names_are_text_there_too(framed):
    _, frame = framed()
    assert frame.locator("img[src=x]").count() == 0
    assert "<img src=x" in frame.locator("body").inner_text()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing(framed, violations, theme):
    page, _ = framed(theme=theme, reduced_motion="reduce")
    assert violations(page) == []


def test_it_fits_a_phone(framed, phone, widths):
    page, frame = framed(**phone)
    assert widths(page) == []
    assert frame.locator(".aa-screen").first.bounding_box()["width"] > 180
