"""Files of strangers: what is no image, too large, broken or made to do harm is refused in clear words."""

import asyncio
import struct
import sys
import tempfile
import zlib
from pathlib import Path

import pytest
from PIL import Image

from archaeology.app.refusal import Refusal
from archaeology.app.uploads import FORM_BYTES, Room, kind_of, size_of

FORM = "multipart/form-data; boundary=b"


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_header(width, height, body=b""):
    """A PNG that says it is so large, and holds next to nothing."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + body + chunk(b"IEND", b"")


def zeros(count):
    """So many zeros, pressed; made piece by piece."""
    press = zlib.compressobj(9)
    parts = [press.compress(bytes(1 << 20)) for _ in range(count >> 20)]
    return b"".join([*parts, press.compress(bytes(count & 0xFFFFF)), press.flush()])


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "GIF"])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_all_kinds_are_taken(upload, picture_file, kind, mode):
    found = upload(picture_file(kind=kind, mode=mode))
    assert found.status_code == 201, found.text
    assert found.json().items() >= {"width": 32, "height": 32, "original": [37, 29]}.items()


def test_an_image_is_turned_as_the_camera_was_held(upload, picture_file):
    exif = Image.Exif()
    exif[0x0112] = 6
    found = upload(picture_file(kind="JPEG", exif=exif)).json()
    assert found["original"] == [29, 37]


def test_of_an_animation_the_first_frame_is_taken(upload, picture_file):
    frames = [Image.new("RGB", (37, 29), colour) for colour in ("red", "blue")]
    found = upload(picture_file(kind="GIF", save_all=True, append_images=frames))
    assert found.status_code == 201 and found.json()["original"] == [37, 29]


def test_an_image_too_thin_to_fill_a_frame_is_refused(upload):
    found = upload(png_header(40_000, 1, chunk(b"IDAT", zlib.compress(bytes(1 + 3 * 40_000)))))
    assert found.status_code == 201, found.text
    found = upload(png_header(2_000_000, 1, chunk(b"IDAT", zlib.compress(bytes(1 + 3 * 2_000_000)))))
    assert found.status_code == 413 and "so long and thin" in found.json()["error"]


def test_an_image_of_100_megapixels_is_refused(upload):
    found = upload(png_header(10_000, 10_000))
    assert found.status_code == 413
    assert (
        "at most 50 million pixels, but has 10000 x 10000 = 100 million; make it smaller"
        in found.json()["error"]
    )


def memory(process="self", what="VmRSS"):
    """Bytes of a process in memory."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith(what)).split()[1])


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_bombs_are_refused_and_no_memory_grows(upload, client):
    decoders = client.app.state.service.decoders
    before = memory()
    bomb = zeros(100 << 20)
    found = upload(png_header(50_000, 50_000, chunk(b"IDAT", bomb)))
    assert found.status_code == 413 and "million pixels" in found.json()["error"]
    # Says it is small and holds much more: only what was said is ever unpacked.
    assert upload(png_header(8, 8, chunk(b"IDAT", bomb))).status_code in (201, 422)
    # A comment that unpacks to 100 MB.
    assert upload(png_header(8, 8, chunk(b"zTXt", b"Comment\0\0" + bomb))).status_code == 422
    assert memory() - before < 20_000_000
    for process in decoders._idle._queue:
        assert process.returncode is None and memory(process.pid, "VmHWM") < 300_000_000


@pytest.mark.parametrize(
    "data",
    [
        b"just text",
        b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>',
        b"%PDF-1.7",
        b"<html><script>alert(1)</script></html>",
        b"%!PS-Adobe-3.0 EPSF-3.0",
        b"II*\0 a TIFF",
        b"BM",
    ],
)
def test_what_is_no_image_is_refused_whatever_it_is_called(client, data):
    found = client.post("/api/images", files={"image": ("picture.png", data, "image/png")})
    assert found.status_code == 415 and "must be a PNG, JPEG, WebP, BMP or GIF file" in found.json()["error"]


@pytest.mark.parametrize("keep", [9, 20, 60, 200])
def test_an_image_that_is_cut_off_is_refused(upload, picture_file, keep):
    found = upload(picture_file()[:keep])
    assert found.status_code == 422 and "broken" in found.json()["error"]


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP"])
def test_broken_images_never_break_the_app(upload, picture_file, kind):
    whole = picture_file(kind=kind)
    for place in range(15, len(whole), max(1, len(whole) // 12)):
        broken = bytearray(whole)
        broken[place : place + 4] = b"\xff\x00\xff\x7f"
        assert upload(bytes(broken)).status_code in (201, 413, 415, 422)


def test_a_file_that_is_too_large_is_refused(upload, client):
    most = client.app.state.service.config.limits.bytes
    found = upload(b"\x89PNG\r\n\x1a\n" + bytes(most + 1))
    assert found.status_code == 413 and "20" in found.json()["error"]


def test_a_body_whose_length_nobody_says_is_cut_where_it_gets_too_long(client):
    sent = 0

    def endless():
        nonlocal sent
        yield b'--b\r\nContent-Disposition: form-data; name="image"; filename="x"\r\n\r\n'
        for _ in range(60):
            sent += 1
            yield bytes(1_000_000)

    found = client.post(
        "/api/images", content=endless(), headers={"content-type": "multipart/form-data; boundary=b"}
    )
    assert found.status_code == 413, found.text


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"x", "text/plain", 415),
        (b"x", "multipart/form-data", 415),
        (b"nonsense", FORM, 422),
        (
            b'--b\r\nContent-Disposition: form-data; name="other"\r\n\r\nx\r\n--b--\r\n',
            "multipart/form-data; boundary=b",
            422,
        ),
        (b"--b\r\n\r\nx\r\n--b--\r\n", FORM, 422),
        (
            b'--b\r\nContent-Disposition: form-data; name="image"\r\n\r\n\r\n--b--\r\n',
            "multipart/form-data; boundary=b",
            422,
        ),
    ],
)
def test_forms_that_are_none_are_refused(client, body, kind, status):
    found = client.post("/api/images", content=body, headers={"content-type": kind})
    assert found.status_code == status and found.json()["error"]


def test_names_of_files_are_neither_kept_nor_shown(client, picture_file):
    name = "<img src=x onerror=alert(1)>.png"
    image = client.post("/api/images", files={"image": (name, picture_file())}).json()["id"]
    found = client.get(f"/api/images/{image}/subject?methods=")
    assert b"onerror" not in found.content
    assert found.headers["content-type"] == "application/octet-stream"
    assert found.headers["x-content-type-options"] == "nosniff"


def test_uploads_never_touch_the_disk(upload, picture_file, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("an upload was laid on the disk")

    for name in ("SpooledTemporaryFile", "TemporaryFile", "NamedTemporaryFile", "mkstemp", "mkdtemp"):
        monkeypatch.setattr(tempfile, name, refuse)
    large = picture_file(size=(1500, 1500), kind="BMP")
    assert len(large) > 6_000_000  # Starlette's own parser writes what is larger than 1 MB to a file
    assert upload(large).status_code == 201


def test_kinds_are_told_by_the_first_bytes(picture_file):
    for kind in ("PNG", "JPEG", "WEBP", "BMP", "GIF"):
        assert kind_of(picture_file(kind=kind)) == kind
    assert kind_of(b"RIFF1234WAVE") is None and kind_of(b"") is None


def test_uploads_under_way_wait_in_line_for_room():
    held = most = 0

    async def upload(room, size):
        nonlocal held, most
        async with room.held(size):
            held += size
            most = max(most, held)
            await asyncio.sleep(0.001)
            held -= size

    async def story():
        room = Room(100, 30.0)
        await asyncio.gather(*(upload(room, 30) for _ in range(50)), upload(room, 100), upload(room, 1000))

    asyncio.run(story())
    assert most <= 1000 and held == 0  # the one that is larger than all the room had it alone


def test_who_waits_too_long_for_room_is_told_when_to_come_back_and_takes_none():
    async def story():
        room = Room(100, 0.05)
        async with room.held(60):
            with pytest.raises(Refusal, match="being uploaded") as full:
                async with room.held(60):
                    raise AssertionError("there was no room")
        with pytest.raises(KeyError):
            async with room.held(100):
                raise KeyError
        async with room.held(100):
            return full.value

    refusal = asyncio.run(story())
    assert refusal.status == 503 and refusal.retry_after


def test_an_upload_for_which_there_is_no_room_is_refused(client, upload, picture_file, monkeypatch):
    room = Room(1_000_000, 0.05)
    monkeypatch.setattr(client.app.state.service, "room", room)
    assert upload(picture_file()).status_code == 201
    assert upload(b"no image").status_code == 415
    monkeypatch.setattr(room, "_free", 10)
    found = upload(picture_file())
    assert found.status_code == 503 and found.headers["retry-after"]
    monkeypatch.setattr(room, "_free", 1_000_000)
    assert upload(picture_file()).status_code == 201


@pytest.mark.parametrize(
    ("headers", "size"),
    [
        ({"content-length": "500"}, 500),
        ({"content-length": "9" * 12}, 1000 + FORM_BYTES),
        ({}, 1000 + FORM_BYTES),
        ({"content-length": "5", "transfer-encoding": "chunked"}, 1000 + FORM_BYTES),
    ],
)
def test_room_is_taken_for_what_may_come(headers, size):
    assert size_of(headers, 1000) == size
