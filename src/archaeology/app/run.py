"""The images of a finished dig, as the app shows them."""

from collections import OrderedDict
from io import BytesIO
from typing import Any

import numpy as np
import torch
from PIL import Image

from archaeology.app.decoding import Picture
from archaeology.app.refusal import not_found
from archaeology.core.shapes import PixelImage
from archaeology.dig.directory import RunDirectory

KEPT = 16


class Run:
    """A run whose subjects are served by their ids; the last ones asked for stay packed."""

    def __init__(self, directory: RunDirectory) -> None:
        """Read the list of images.

        Args:
            directory: A finished dig.
        """
        self.directory = directory
        self.name = directory.path.resolve().name
        places = np.asarray(directory.specimens["image_index"][:]).tolist()
        rows = directory.images.take(places).to_pylist()
        self._places = {str(row["id"]): place for place, row in enumerate(rows)}
        self.subjects: list[dict[str, Any]] = [
            {
                "id": str(row["id"]),
                "title": str(row.get("label_name") or row["id"]),
                "label": row.get("label_name"),
                "note": row.get("failure"),
                "group": row.get("failure"),
            }
            for row in rows
        ]
        self._packed: OrderedDict[str, bytes] = OrderedDict()

    def picture(self, name: str) -> Picture:
        """One of its images.

        Raises:
            Refusal: 404, if there is none of that id.
        """
        place = self._places.get(name)
        if place is None:
            raise not_found("image in this run")
        pixels = np.ascontiguousarray(self.directory.specimens["pixels"][place].transpose(1, 2, 0))
        entry = self.subjects[place]
        return Picture(pixels, (pixels.shape[1], pixels.shape[0]), entry["title"], entry["label"])

    def thumbnail(self, name: str) -> bytes:
        """A small PNG of one of its images.

        Raises:
            Refusal: 404, if there is none of that id.
        """
        image = Image.fromarray(self.picture(name).pixels)
        image.thumbnail((96, 96))
        file = BytesIO()
        image.save(file, "PNG")
        return file.getvalue()

    def pixels(self) -> PixelImage:
        """All images that the run keeps."""
        return torch.from_numpy(np.asarray(self.directory.specimens["pixels"][:]))

    def packed(self, name: str) -> bytes:
        """The container of one of its images.

        Raises:
            Refusal: 404, if there is none of that id.
        """
        from archaeology.explorer.subject import Subject

        picture = self.picture(name)
        return Subject(name, picture.title, picture.pixels, (), picture.label).pack()
