"""The processes that decode: what kills one costs one upload."""

import asyncio
import subprocess
import sys

import pytest
from PIL import Image

from archaeology.app import decoding
from archaeology.app.config import Limits
from archaeology.app.decoder import decoded
from archaeology.app.decoding import Decoders
from archaeology.app.refusal import Refusal


def run(what):
    return asyncio.run(what)


def test_a_process_that_dies_costs_one_upload(picture_file):
    async def story():
        decoders = Decoders(Limits(decoders=1))
        await decoders.start()
        try:
            process = decoders._idle._queue[0]
            process.kill()
            await process.wait()
            first = await asyncio.gather(decoders.decode(picture_file(), 64), return_exceptions=True)
            second = await decoders.decode(picture_file(), 64)
            return first[0], second
        finally:
            await decoders.stop()

    first, second = run(story())
    assert isinstance(first, decoding.Picture) or first.status == 422
    assert second.pixels.shape == (29, 37, 3)


def test_a_process_that_takes_too_long_is_killed_and_replaced(picture_file):
    async def story():
        decoders = Decoders(Limits(decoders=1), seconds=0.0)
        await decoders.start()
        try:
            process = decoders._idle._queue[0]
            with pytest.raises(Refusal, match="memory and time") as refusal:
                await decoders.decode(picture_file(), 64)
            await process.wait()
            decoders._seconds = 30.0
            return refusal.value.status, await decoders.decode(picture_file(), 64)
        finally:
            await decoders.stop()

    status, picture = run(story())
    assert status == 422 and picture.original == (37, 29)


def test_an_upload_that_finds_no_process_free_is_told_so(picture_file):
    async def story():
        decoders = Decoders(Limits(decoders=1, seconds=0.05))
        await decoders.start()
        process = await decoders._idle.get()
        try:
            with pytest.raises(Refusal, match="Too many images") as refusal:
                await decoders.decode(picture_file(), 64)
            return refusal.value
        finally:
            decoders._idle.put_nowait(process)
            await decoders.stop()

    refusal = run(story())
    assert refusal.status == 503 and refusal.retry_after


@pytest.mark.skipif(sys.platform != "linux", reason="the limits are those of Linux")
def test_the_kernel_holds_a_decoder_to_its_memory_and_keeps_it_from_files(tmp_path):
    text = (
        "from archaeology.app.decoder import limit_process, limit_job, MEMORY\nlimit_process(); limit_job()\n"
        "try: bytearray(MEMORY)\nexcept MemoryError: print('memory')\n"
        "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        f"try:\n  with open({str(tmp_path / 'x')!r}, 'w') as file: file.write('x')\nexcept OSError: print('files')\n"
    )
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["memory", "files"]


def test_memory_that_runs_out_is_told(picture_file, monkeypatch):
    from archaeology.app import decoder

    def all_gone(image, longest):
        raise MemoryError

    monkeypatch.setattr(decoder, "_pixels", all_gone)
    said, pixels = decoded(picture_file(), 10_000, 64)
    assert said["status"] == 413 and "too much memory" in said["error"] and not pixels


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_a_large_jpeg_says_how_large_it_was_as_a_person_sees_it(picture_file, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = picture_file(
        size=(4200, 2100), kind="JPEG", exif=exif
    )  # so large that it is decoded at half of it
    is_turned = orientation > 4
    said, pixels = decoded(data, 10_000_000, 512)
    kept = (256, 512) if is_turned else (512, 256)
    assert (said["width"], said["height"]) == kept and len(pixels) == 3 * 512 * 256
    assert said["original"] == ([2100, 4200] if is_turned else [4200, 2100])
    assert decoded(data, 10_000_000, 512, (32, 48, 0.9))[0] == {
        "width": 48,
        "height": 32,
        "original": said["original"],
    }
