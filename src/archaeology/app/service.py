"""Everything a running app holds: models, the run, what visitors uploaded, decoders, the worker."""

import asyncio
import logging
from dataclasses import dataclass, field

from archaeology.app.ablation import Heads
from archaeology.app.attacks import Attack
from archaeology.app.config import AppConfig
from archaeology.app.decoder import Frame
from archaeology.app.decoding import Decoders, Picture
from archaeology.app.models import Models, loaded
from archaeology.app.refusal import not_found
from archaeology.app.run import Run
from archaeology.app.seeing import Rows
from archaeology.app.sessions import Shelf, Visitors
from archaeology.app.uploads import FORM_BYTES, Room
from archaeology.app.work import Worker
from archaeology.dig.directory import RunDirectory
from archaeology.specimens.specimen import Specimen

log = logging.getLogger("archaeology.app")
LOOKS = 60.0  # seconds between two looks for what is idle, at most


@dataclass(eq=False)
class Service:
    """What requests are served from.

    Attributes:
        config: As it was started.
        models: That are asked.
        run: Whose images are shown; None where there is none.
        visitors: Knows cookies.
        heads: Of all models; for the worker.
        images: Of visitors.
        attacks: Of visitors.
        room: For uploads under way.
        decoders: Make pictures of files.
        worker: Runs models.
        rows: Of attention; for the worker.
        leaving: Set when the server is about to stop, so that streams end.
    """

    config: AppConfig
    models: Models
    run: Run | None
    visitors: Visitors
    heads: Heads
    images: Shelf[Picture]
    attacks: Shelf[Attack]
    room: Room
    decoders: Decoders
    worker: Worker
    rows: Rows = field(default_factory=Rows)
    leaving: asyncio.Event = field(default_factory=asyncio.Event)
    _forgetting: asyncio.Task[None] | None = None

    @classmethod
    def of(cls, config: AppConfig) -> "Service":
        """Open the run and load the models.

        Raises:
            FileNotFoundError: If there is no such run.
            ValueError: If the run is not a finished dig, or a model cannot be loaded.
        """
        directory = None if config.run is None else RunDirectory(config.run)
        models = loaded(config, directory)
        return cls.with_models(config, models, None if directory is None else Run(directory))

    @classmethod
    def with_models(cls, config: AppConfig, models: Models, run: Run | None) -> "Service":
        """With models that are loaded already."""
        limits = config.limits
        half = limits.memory // 2
        return cls(
            config,
            models,
            run,
            Visitors(),
            Heads(None if run is None else run.pixels()),
            Shelf(limits.images, half, limits.idle),
            Shelf(limits.images, half, limits.idle, dropped=Attack.halt),
            Room(max(limits.memory // 4, limits.bytes + FORM_BYTES), limits.seconds),
            Decoders(limits),
            Worker(limits.waiting, limits.seconds, config.threads),
        )

    @property
    def frame(self) -> Frame | None:
        """What an upload is scaled and cut to: the first model's frame, as in `explore()`; None without models."""
        first = next(iter(self.models.specimens.values()), None)
        return None if first is None else (*first.image_size, first.crop_fraction)

    def picture(self, visitor: str | None, name: str) -> Picture:
        """An uploaded image of this visitor.

        Raises:
            Refusal: 404, if there is none.
        """
        found = self.images.get(visitor, name)
        if found is None:
            raise not_found("image")
        return found

    def specimen(self, key: object) -> Specimen:
        """The model of this key.

        Raises:
            Refusal: 404, if there is none.
        """
        if not isinstance(key, str) or key not in self.models.specimens:
            raise not_found("model")
        return self.models.specimens[key]

    async def start(self) -> None:
        """Start thread and processes."""
        self.worker.start()
        await self.decoders.start()
        self._forgetting = asyncio.create_task(self._forget())

    async def _forget(self) -> None:
        """Forget what is idle, also where nobody asks for anything."""
        while True:
            await asyncio.sleep(min(LOOKS, self.config.limits.idle / 4))
            self.images.forget_idle()
            self.attacks.forget_idle()

    def leave(self) -> None:
        """Let streams end: the server is about to stop."""
        self.leaving.set()
        self.worker.stopping.set()
        self.attacks.clear()

    async def stop(self) -> None:
        """End everything that was started, and forget everything."""
        self.leave()
        if self._forgetting is not None:
            self._forgetting.cancel()
        await asyncio.to_thread(self.worker.stop)
        await self.decoders.stop()
        self.images.clear()
        self.attacks.clear()
