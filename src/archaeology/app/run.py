"""The images of a finished dig, as the app shows them: packed when asked for, the last ones kept."""

import threading
from collections import OrderedDict
from typing import Any

import numpy as np
import torch

from archaeology.app.decoding import Picture
from archaeology.app.refusal import not_found
from archaeology.core.errors import UnknownNameError
from archaeology.core.shapes import PixelImage
from archaeology.dig.directory import RunDirectory
from archaeology.explorer.from_run import RunSubjects
from archaeology.explorer.subject import Subject

MOST_KEPT = 64_000_000  # bytes


class Run:
    """A run whose images are served by their ids; used by several threads."""

    def __init__(self, directory: RunDirectory) -> None:
        """Read the list of images.

        Args:
            directory: A finished dig.
        """
        self.name = directory.path.resolve().name
        self._directory = directory
        self._subjects = RunSubjects(directory)
        self._packed: OrderedDict[str, bytes] = OrderedDict()
        self._alone = threading.Lock()
        self.entries: list[dict[str, Any]] = self._subjects.entries()

    def pixels(self) -> PixelImage:
        """All images that the run keeps."""
        return torch.from_numpy(np.asarray(self._directory.specimens["pixels"][:]))

    def packed(self, name: str) -> bytes:
        """The container of one of its images.

        Raises:
            Refusal: 404, if there is none of that id.
        """
        with self._alone:
            if name not in self._packed:
                self._packed[name] = self._subject(name).pack()
            self._packed.move_to_end(name)
            while len(self._packed) > 1 and sum(map(len, self._packed.values())) > MOST_KEPT:
                self._packed.popitem(last=False)
            return self._packed[name]

    def picture(self, name: str) -> Picture:
        """One of its images, for models to look at anew.

        Raises:
            Refusal: 404, if there is none of that id.
        """
        with self._alone:
            subject = self._subject(name)
        height, width = subject.pixels.shape[:2]
        return Picture(subject.pixels, (width, height), subject.title, subject.label)

    def thumbnail(self, name: str) -> bytes:
        """A small PNG of one of its images.

        Raises:
            Refusal: 404, if there is none of that id.
        """
        with self._alone:
            try:
                return self._subjects.thumbnail(name)
            except UnknownNameError:
                raise not_found("image in this run") from None

    def _subject(self, name: str) -> Subject:
        try:
            return self._subjects.subject(name)
        except UnknownNameError:
            raise not_found("image in this run") from None
