"""The explorer as a Space: upload an image, look into the models. The same page as everywhere, in Gradio's frame.

`python -m archaeology.explorer.gradio_space` serves it on this machine; a Space calls `space(...).launch()`. Gradio's
analytics stay off, and nothing is asked of the network.
"""

import os
from html import escape
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import UInt8

from archaeology.core.errors import MissingExtraError, SelfCheckError
from archaeology.explorer.embed import ExplorerView, explorer_html
from archaeology.explorer.explore import framed_for
from archaeology.explorer.live import Caption, subjects_of
from archaeology.specimens.load import load
from archaeology.specimens.specimen import Specimen

if TYPE_CHECKING:
    from gradio import Blocks

VIT, CNN = "bundled:vit_cifar10", "bundled:convnet_cifar10"
TITLE = "Attention Archaeology"
SAYS = (
    "Upload an image and see where every layer and head of the transformer looks, beside what moves the CNN."
)
WAITING = "<p>Upload an image: the explorer appears here.</p>"


def space(vit: Specimen | str = VIT, cnn: Specimen | str | None = CNN) -> "Blocks":
    """A page with an upload and the explorer below it; `.launch()` serves it.

    Args:
        vit: The model whose attention is shown, or its name.
        cnn: The model beside it; None for none.

    Raises:
        MissingExtraError: If Gradio is not installed; says how to.
    """
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    try:
        import gradio
    except ModuleNotFoundError as error:
        raise MissingExtraError("gradio", "spaces", "A Space") from error
    given = {"vit": vit} | ({} if cnn is None else {"cnn": cnn})
    specimens = {key: load(one) if isinstance(one, str) else one for key, one in given.items()}

    def look(image: np.ndarray | None) -> str:
        return frame_of(specimens, image)

    with gradio.Blocks(title=TITLE, analytics_enabled=False) as blocks:
        gradio.Markdown(f"# {TITLE}\n{SAYS}")
        image = gradio.Image(type="numpy", image_mode="RGB", label="Image", sources=["upload", "clipboard"])
        shown = gradio.HTML(WAITING)
        image.change(look, inputs=image, outputs=shown, api_name="look")
    return blocks


def frame_of(specimens: dict[str, Specimen], image: UInt8[np.ndarray, "height width 3"] | None) -> str:
    """The explorer of one image in a frame, or why there is none; what Gradio shows."""
    if image is None:
        return WAITING
    first = next(iter(specimens.values()))
    pixels = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))
    try:
        batch = framed_for(pixels, first)[None]
        subjects = subjects_of(specimens, batch, [Caption("upload", "Your image")])
    except (ValueError, SelfCheckError) as error:
        return f"<p>This image cannot be shown: {escape(str(error))}</p>"
    document = explorer_html(subjects, title=TITLE, deep_links=False)
    return ExplorerView(document, TITLE)._repr_html_()


if __name__ == "__main__":
    space().launch(share=False)
