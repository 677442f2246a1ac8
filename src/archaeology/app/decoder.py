"""The process that decodes images of strangers: little memory, little time, no files, and nothing to lose.

`python -m archaeology.app.decoder` reads jobs from stdin and writes pixels to stdout. Its limits are the kernel's, so
that a file that is made to eat memory or time costs this process and one upload, never the server.
"""

import json
import struct
import sys
from io import BytesIO
from typing import Any, BinaryIO

from PIL import Image

from archaeology.core.framing import EndlessError, Framing
from archaeology.core.pictures import as_rgb, upright

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF")  # of Pillow's others some start programs; JPEG reads MPO, too
MEMORY = 1_500_000_000
CPU_SECONDS = 10
SIZE = struct.Struct("<I")
Frame = tuple[int, int, float]
ORIENTATION = 0x0112  # of EXIF; from 5 on width and height are swapped


def decoded(
    data: bytes, most_pixels: int, longest: int, frame: Frame | None = None
) -> tuple[dict[str, Any], bytes]:
    """Pixels of an image file, and what is to be said of it.

    Args:
        data: The file.
        most_pixels: Width times height that are decoded at most; looked at before anything is decoded.
        longest: Side in pixels above which an image without a frame is made smaller.
        frame: Of the model that sees it: height, width and the share of the shorter side that is kept.

    Returns:
        `{"width", "height", "original": [width, height]}` (the last as a person sees it) and the RGB bytes;
        `{"status", "error"}` for a file that is not decoded.
    """
    try:
        image = Image.open(BytesIO(data), formats=FORMATS)
    except Image.DecompressionBombError as error:
        return {"status": 413, "error": str(error)}, b""
    except Exception:  # a broken file makes Pillow raise almost anything
        return {"status": 422, "error": "The image is broken: its header cannot be read; save it again."}, b""
    if image.width * image.height > most_pixels:
        return _too_large(image, most_pixels), b""
    try:
        return _pixels(image, longest) if frame is None else _framed(image, frame, most_pixels)
    except EndlessError as error:
        return {"status": 413, "error": f"The image does not fit the model: {error}; cut it."}, b""
    except MemoryError:
        return {"status": 413, "error": "The image needs too much memory to decode; make it smaller."}, b""
    except Exception as error:
        said = str(error) or type(error).__name__
        return {"status": 422, "error": f"The image is broken or cut off ({said}); save it again."}, b""


def _framed(image: Image.Image, frame: Frame, most_pixels: int) -> tuple[dict[str, Any], bytes]:
    """Pixels as the model sees them: what a dig and `explore()` make of the same file."""
    original = _seen_size(image)
    image = as_rgb(upright(image))
    height, width, crop_fraction = frame
    framing = Framing(image.height, image.width, (height, width), crop_fraction)
    framing.check(most_pixels)
    return _answer(framing.apply(image, Image.Resampling.BICUBIC), original)


def _pixels(image: Image.Image, longest: int) -> tuple[dict[str, Any], bytes]:
    original = _seen_size(image)
    if image.format == "JPEG":
        image.draft(
            "RGB", (2 * longest, 2 * longest)
        )  # decodes at a fraction of the size, in a fraction of the time
    image.load()
    image = upright(image)
    if image.mode not in ("RGB", "RGBA", "L", "LA"):
        image = as_rgb(image)
    if max(image.size) > longest:
        share = longest / max(image.size)
        size = (max(1, round(image.width * share)), max(1, round(image.height * share)))
        image = image.resize(size, Image.Resampling.BICUBIC, reducing_gap=3.0)
    return _answer(as_rgb(image), original)


def _seen_size(image: Image.Image) -> tuple[int, int]:
    """Width and height of the upright image; asked before `draft`, which makes them smaller."""
    is_turned = image.getexif().get(ORIENTATION, 1) in (5, 6, 7, 8)
    return (image.height, image.width) if is_turned else (image.width, image.height)


def _answer(image: Image.Image, original: tuple[int, int]) -> tuple[dict[str, Any], bytes]:
    return {"width": image.width, "height": image.height, "original": list(original)}, image.tobytes()


def _too_large(image: Image.Image, most: int) -> dict[str, Any]:
    return {
        "status": 413,
        "error": f"The image must have at most {most / 1e6:g} million pixels, but has {image.width} x {image.height} = "
        f"{image.width * image.height / 1e6:.0f} million; make it smaller.",
    }


def limit_process() -> None:
    """Give up, for good, what decoding does not need; not on Windows, which knows no such limits."""
    try:
        import resource
    except ImportError:
        return
    for name, most in (("RLIMIT_AS", MEMORY), ("RLIMIT_FSIZE", 0), ("RLIMIT_CORE", 0)):
        _lower(resource, getattr(resource, name), most)


def limit_job() -> None:
    """So many seconds of the processor from now on."""
    try:
        import resource
    except ImportError:
        return
    used = resource.getrusage(resource.RUSAGE_SELF)
    soft = int(used.ru_utime + used.ru_stime) + CPU_SECONDS + 1
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (soft, hard))


def _lower(resource: Any, kind: int, most: int) -> None:
    _, hard = resource.getrlimit(kind)
    lowest = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(kind, (lowest, lowest))


def serve(source: BinaryIO, sink: BinaryIO) -> None:
    """Jobs until the server hangs up: `{"bytes", "pixels", "side", "frame"}` and the file.

    Each is answered by a head and the pixels.
    """
    Image.MAX_IMAGE_PIXELS = None  # we look ourselves, and say it in our words
    Image.preinit()
    Image.init()
    while head := source.read(SIZE.size):
        job = json.loads(source.read(*SIZE.unpack(head)))
        data = source.read(job["bytes"])
        if len(data) < job["bytes"]:
            return
        limit_job()
        frame = job.get("frame")
        said, pixels = decoded(data, job["pixels"], job["side"], None if frame is None else tuple(frame))
        text = json.dumps(said).encode()
        sink.write(SIZE.pack(len(text)) + text + SIZE.pack(len(pixels)) + pixels)
        sink.flush()
        del data, pixels


if __name__ == "__main__":
    limit_process()
    serve(sys.stdin.buffer, sys.stdout.buffer)
