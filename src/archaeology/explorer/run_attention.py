"""The attention that a run stored of some of its images: whole, window by window, or as queries and keys."""

from typing import Any

import numpy as np

from archaeology.dig.directory import RunDirectory
from archaeology.explorer.subject import AttentionKind, AttentionLayer, AttentionLayers


class RunAttention:
    """Attention of a run's images, by their row in `images.parquet`; read from disk when asked for."""

    def __init__(self, run: RunDirectory) -> None:
        """Look what there is."""
        self._group = run.specimens
        facts: dict[str, Any] = dict(run.specimens.attrs)
        self._modules: list[str] = list(facts.get("layers") or [])
        layout = run.run["models"]["vit"].get("layout") or {}
        grid = (facts.get("rows") or layout.get("rows"), facts.get("columns") or layout.get("columns"))
        self._grids = [tuple(each) for each in facts.get("grids") or []] or [grid] * len(self._modules)
        self._scales: list[float] = list(facts.get("scales") or [])
        self._whole = {int(row): place for place, row in enumerate(facts.get("layer_images") or [])}
        self._others = {int(row): place for place, row in enumerate(facts.get("other_images") or [])}
        self._kind: AttentionKind = "window" if facts.get("attention_kind") == "window" else "token"

    def is_whole(self, row: int) -> bool:
        """Whether everything that is stored of attention is stored of this image."""
        return row in self._whole

    def of_image(self, row: int) -> AttentionLayers | None:
        """The layers of an image, without patterns where only the readout was kept; None where nothing was."""
        if not self._modules:
            return None
        if row in self._whole:
            place = self._whole[row]
            readout = self._readout("readout", place)
            patterns = [self._pattern(number, place) for number in range(len(self._modules))]
        elif row in self._others and "other_readout" in self._group:
            readout = self._readout("other_readout", self._others[row])
            patterns = [None] * len(self._modules)
        else:
            return None
        if readout is None and patterns[0] is None:
            return None
        layers = tuple(self._layer(number, pattern, readout) for number, pattern in enumerate(patterns))
        return AttentionLayers(self._kind, layers, readout=readout)

    def factors(self, row: int) -> tuple[np.ndarray, np.ndarray, list[float]] | None:
        """Queries and keys (layer, head, token, dim) with the scales of the layers, where they were kept."""
        place = self._whole.get(row)
        if place is None or "queries" not in self._group or place >= self._group["queries"].shape[0]:
            return None
        return np.asarray(self._group["queries"][place]), np.asarray(self._group["keys"][place]), self._scales

    def _layer(self, number: int, pattern: np.ndarray | None, readout: np.ndarray | None) -> AttentionLayer:
        rows, columns = self._grids[number]
        where = f"places_{number}"
        places = np.asarray(self._group[where]) if where in self._group else None
        heads = 0
        if pattern is not None:
            heads = pattern.shape[-3]
        elif readout is not None:
            heads = readout.shape[1]
        return AttentionLayer(self._modules[number], rows, columns, heads, pattern, places)

    def _pattern(self, number: int, place: int) -> np.ndarray | None:
        if "attention" in self._group:
            return np.asarray(self._group["attention"][place, number]).astype(np.float32)
        name = f"pattern_{number}"
        if name not in self._group:
            return None
        return np.asarray(self._group[name][place]).astype(np.float32)

    def _readout(self, name: str, place: int) -> np.ndarray | None:
        if name not in self._group:
            return None
        found = np.asarray(self._group[name][place]).astype(np.float32)
        return found.reshape(*found.shape[:2], -1)
