"""An uploaded file is read as it arrives, into memory and never to the disk, and refused as early as it can be.

Starlette's own form parser lays files above 1 MB on the disk; so the stream is read here, part by part. What a file is
called does not matter and is not kept: its first bytes say what it is.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from python_multipart import MultipartParser
from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import parse_options_header

from archaeology.app.refusal import Refusal, too_busy

KINDS = "PNG, JPEG, WebP, BMP or GIF"
SECONDS = 60.0
FIELD_BYTES = 1024
FORM_BYTES = 10_000  # of a form, beside its file
MOST_PARTS = 8


class Room:
    """Bytes that uploads under way may hold, all together; who finds no room waits in a line, the first comes first."""

    def __init__(self, most: int, seconds: float) -> None:
        """All of it free.

        Args:
            most: Bytes.
            seconds: That one may wait.
        """
        self._most, self._free, self._seconds = most, most, seconds
        self._turn = asyncio.Lock()
        self._freed = asyncio.Event()

    @asynccontextmanager
    async def held(self, size: int) -> AsyncIterator[None]:
        """So many bytes of it, from their arrival until the image is decoded.

        Raises:
            Refusal: 503, if there is no room in time.
        """
        size = min(size, self._most)
        try:
            async with asyncio.timeout(self._seconds), self._turn:
                while self._free < size:
                    self._freed.clear()
                    await self._freed.wait()
                self._free -= size
        except TimeoutError:
            raise too_busy("Too many images are being uploaded; try again in a moment.", 5) from None
        try:
            yield
        finally:
            self._free += size
            self._freed.set()


def size_of(headers: Mapping[str, str], most_bytes: int) -> int:
    """Bytes that an upload may turn out to have: those it says, or all it may have where it says none."""
    said = headers.get("content-length", "")
    is_said = said.isdecimal() and "transfer-encoding" not in headers  # which would make the length void
    return min(int(said), most_bytes + FORM_BYTES) if is_said else most_bytes + FORM_BYTES


def kind_of(data: bytes | bytearray) -> str | None:
    """What a file is by its first bytes, or None where it is no image that is taken."""
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        return "PNG"
    if data[:3] == b"\xff\xd8\xff":
        return "JPEG"
    if data[:6] in (b"GIF87a", b"GIF89a"):
        return "GIF"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    if data[:2] == b"BM" and len(data) > 14:
        return "BMP"
    return None


class Form:
    """A multipart form, fed piece by piece: the bytes of its fields, nothing else."""

    def __init__(self, boundary: bytes, most: dict[str, int]) -> None:
        """Begin.

        Args:
            boundary: From the request's content type.
            most: Bytes that each known field may have; others are refused.
        """
        self.fields: dict[str, bytearray] = {}
        self._most = most
        self._header, self._value = b"", b""
        self._name = ""
        self._parser = MultipartParser(
            boundary,
            callbacks={
                "on_part_begin": self._begin,
                "on_header_field": self._on_header,
                "on_header_value": self._on_value,
                "on_header_end": self._header_done,
                "on_headers_finished": self._headers_done,
                "on_part_data": self._data,
            },
        )
        self._parts = 0

    def feed(self, piece: bytes) -> None:
        """One piece of the body."""
        self._parser.write(piece)

    def finish(self) -> None:
        """Nothing more comes."""
        self._parser.finalize()

    def _begin(self) -> None:
        self._parts += 1
        self._header, self._value, self._name = b"", b"", ""
        if self._parts > MOST_PARTS:
            raise Refusal(422, f"A form must have at most {MOST_PARTS} parts; send one image.")

    def _on_header(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _on_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_done(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._name = parse_options_header(self._value)[1].get(b"name", b"").decode("latin-1")
        self._header, self._value = b"", b""

    def _headers_done(self) -> None:
        if self._name not in self._most:
            raise Refusal(422, "A form must have one field called image, with the file; got another field.")
        if self._name in self.fields:
            raise Refusal(
                422, f"A form must have one field called {self._name}, but has two; send one image."
            )
        self.fields[self._name] = bytearray()

    def _data(self, data: bytes, start: int, end: int) -> None:
        field = self.fields[self._name]
        if len(field) + end - start > self._most[self._name]:
            raise too_many_bytes(self._most[self._name])
        field += data[start:end]


def too_many_bytes(most: int) -> Refusal:
    """The file is too large."""
    return Refusal(
        413, f"A file must have at most {most / 1e6:g} MB, but this one has more; make it smaller."
    )


async def read_form(
    content_type: str, body: AsyncIterator[bytes], most_bytes: int, seconds: float = SECONDS
) -> dict[str, bytearray]:
    """The fields `image` and `run` of a form, whichever came.

    Raises:
        Refusal: 408, 413, 415 or 422, if it is slow, too large, no form, or broken.
    """
    kind, options = parse_options_header(content_type)
    boundary = options.get(b"boundary")
    if kind != b"multipart/form-data" or not boundary or len(boundary) > 200:
        raise Refusal(415, "An image must be sent as multipart/form-data, in the field called image.")
    form = Form(boundary, {"image": most_bytes, "run": FIELD_BYTES})
    try:
        async with asyncio.timeout(seconds):
            async for piece in body:
                form.feed(piece)
        form.finish()
    except TimeoutError:
        raise Refusal(
            408, f"A file must arrive within {seconds:g} seconds, but it did not; try again."
        ) from None
    except MultipartParseError:
        raise Refusal(422, "The form is broken or cut off; send it again.") from None
    return form.fields


def checked_image(fields: dict[str, bytearray]) -> bytearray:
    """The file in the field `image`.

    Raises:
        Refusal: 415 or 422, if there is none, or it is no image that is taken.
    """
    data = fields.get("image")
    if not data:
        raise Refusal(422, "A form must have a field called image with a file in it, but there is none.")
    if kind_of(data) is None:
        raise Refusal(
            415,
            f"An image must be a {KINDS} file, but this one is none of them, whatever it is called.",
        )
    return data
