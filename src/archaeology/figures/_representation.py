"""What figures of layers share: the document they read, names of readouts and maps, pictures out of text."""

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

READOUTS = {
    "class_token": "class token",
    "mean_patches": "mean of patches",
    "registers": "registers",
}
PROJECTIONS = {"tsne": "t-SNE", "pca": "PCA", "umap": "UMAP"}
# Of classes: alike in lightness, so that all can be told from light and from dark paper.
CLASS_COLOURS = (
    "#3f7cb8",
    "#c8603f",
    "#3f9455",
    "#a9852a",
    "#8a62b5",
    "#2f97a3",
    "#c25592",
    "#7d7f84",
    "#a5715a",
    "#7b9636",
)


@runtime_checkable
class Layered(Protocol):
    """Whatever has a survey of layers: a run directory, or a light object with the same attribute."""

    @property
    def representation(self) -> Mapping[str, Any] | None:
        """The document as `represent/survey.py` writes it; None where nothing was measured."""
        ...


def layered_part(source: Layered, key: str) -> Any:
    """One part of the document; None where there is no document, or this part is absent or empty."""
    return (source.representation or {}).get(key) or None


def readout_text(name: str) -> str:
    """A readout in words."""
    return READOUTS.get(name, name.replace("_", " "))
