from collections.abc import Callable
from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image

from archaeology.core.errors import BadImageError
from archaeology.data.decode import FORMATS, decode_image

HEIGHT, WIDTH = 5, 7


def saved(image: Image.Image, format: str = "PNG", **options: object) -> bytes:
    buffer = BytesIO()
    image.save(buffer, format=format, **options)
    return buffer.getvalue()


def ramp(dtype: type, high: int) -> np.ndarray:
    return np.linspace(0, high, HEIGHT * WIDTH).round().astype(dtype).reshape(HEIGHT, WIDTH)


def rgb_ramp() -> np.ndarray:
    return np.stack([ramp(np.uint8, 255), ramp(np.uint8, 100), ramp(np.uint8, 20)], axis=-1)


def assert_shows(data: bytes, expected: np.ndarray, atol: int = 0) -> None:
    decoded = decode_image(data, "x")
    assert decoded.dtype == torch.uint8 and decoded.is_contiguous()
    torch.testing.assert_close(
        decoded.permute(1, 2, 0).int(), torch.from_numpy(expected.copy()).int(), rtol=0, atol=atol
    )


def grey(values: np.ndarray) -> np.ndarray:
    return np.repeat(values[:, :, None], 3, axis=-1)


@pytest.mark.parametrize("format", ["PNG", "BMP", "TIFF", "PPM"])
def test_rgb_survives_unchanged(format: str) -> None:
    assert_shows(saved(Image.fromarray(rgb_ramp()), format), rgb_ramp())


def test_webp_and_jpeg_and_gif_are_read() -> None:
    even = np.full((16, 16, 3), (200, 100, 50), np.uint8)
    assert_shows(saved(Image.fromarray(even), "WEBP", lossless=True), even)
    assert_shows(saved(Image.fromarray(even), "JPEG", quality=95), even, atol=3)
    assert_shows(saved(Image.fromarray(even), "GIF"), even)


def test_greyscale_gets_three_equal_channels() -> None:
    assert_shows(saved(Image.fromarray(ramp(np.uint8, 255))), grey(ramp(np.uint8, 255)))


def test_one_bit_is_black_and_white() -> None:
    bits = ramp(np.uint8, 255) > 100
    assert_shows(saved(Image.fromarray(bits)), grey(bits * np.uint8(255)))


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_16_bit_greyscale_is_scaled_and_not_clipped(format: str) -> None:
    values = ramp(np.uint16, 65535)
    assert_shows(saved(Image.fromarray(values), format), grey(np.rint(values / 257).astype(np.uint8)))


def test_big_endian_16_bit_tiff_and_16_bit_pgm_are_scaled() -> None:
    values = ramp(np.uint16, 65535)
    expected = grey(np.rint(values / 257).astype(np.uint8))
    pgm = f"P5 {WIDTH} {HEIGHT} 65535\n".encode() + values.astype(">u2").tobytes()
    assert_shows(pgm, expected)
    big = Image.frombytes("I;16B", (WIDTH, HEIGHT), values.astype(">u2").tobytes())
    assert_shows(saved(big, "TIFF"), expected)


def test_cmyk_becomes_what_it_looks_like() -> None:
    cyan = Image.new("CMYK", (WIDTH, HEIGHT), (255, 0, 0, 0))
    assert_shows(saved(cyan, "TIFF"), np.full((HEIGHT, WIDTH, 3), (0, 255, 255), np.uint8))
    assert_shows(
        saved(cyan, "JPEG", quality=100), np.full((HEIGHT, WIDTH, 3), (0, 255, 255), np.uint8), atol=4
    )


def test_transparent_pixels_lie_on_white() -> None:
    pixels = np.zeros((HEIGHT, WIDTH, 4), np.uint8)
    pixels[:, 3:] = (255, 0, 0, 255)
    pixels[0, 0] = (0, 0, 0, 128)
    expected = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)
    expected[:, 3:] = (255, 0, 0)
    expected[0, 0] = 127
    assert_shows(saved(Image.fromarray(pixels)), expected)


def test_grey_with_alpha_lies_on_white() -> None:
    pixels = np.zeros((HEIGHT, WIDTH, 2), np.uint8)
    pixels[:, 3:] = (40, 255)
    expected = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)
    expected[:, 3:] = 40
    assert_shows(saved(Image.fromarray(pixels)), expected)


@pytest.mark.parametrize("transparency", [1, bytes([255, 0, 255])])
def test_palette_with_and_without_a_transparent_colour(transparency: int | bytes) -> None:
    indices = np.zeros((HEIGHT, WIDTH), np.uint8)
    indices[1], indices[2] = 1, 2
    image = Image.fromarray(indices)
    image = image.convert("P")
    image.putpalette([10, 20, 30, 0, 0, 0, 70, 80, 90])
    image.putdata(indices.flatten().tolist())
    expected = np.array([(10, 20, 30), (0, 0, 0), (70, 80, 90)], np.uint8)[indices]
    assert_shows(saved(image), expected)
    expected[1] = 255
    assert_shows(saved(image, transparency=transparency), expected)


def test_rgb_with_a_transparent_colour_lies_on_white() -> None:
    pixels = rgb_ramp()
    expected = pixels.copy()
    expected[0, 0] = 255
    assert_shows(saved(Image.fromarray(pixels), transparency=tuple(int(v) for v in pixels[0, 0])), expected)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_cameras_orientation_is_applied(orientation: int) -> None:
    pixels = rgb_ramp()
    turned = {
        1: pixels,
        2: pixels[:, ::-1],
        3: pixels[::-1, ::-1],
        4: pixels[::-1],
        5: pixels.transpose(1, 0, 2),
        6: np.rot90(pixels, -1),
        7: pixels[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(pixels),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert_shows(saved(Image.fromarray(pixels), exif=exif), turned)


@pytest.mark.parametrize("format", ["GIF", "PNG", "WEBP", "TIFF"])
def test_of_an_animation_the_first_frame_is_taken(format: str) -> None:
    frames = [Image.new("RGB", (WIDTH, HEIGHT), colour) for colour in ("red", "blue", "green")]
    data = saved(frames[0], format, save_all=True, append_images=frames[1:])
    assert_shows(data, np.full((HEIGHT, WIDTH, 3), (255, 0, 0), np.uint8), atol=2 if format == "WEBP" else 0)


def test_a_wrong_suffix_does_not_matter(encoded: Callable[..., bytes]) -> None:
    assert decode_image(encoded(format="JPEG"), "called.png").shape == (3, 11, 13)


def test_an_empty_file_is_named() -> None:
    with pytest.raises(BadImageError, match=r"photos/a\.jpg must be an image .* but it is empty \(0 bytes\)"):
        decode_image(b"", "photos/a.jpg")


@pytest.mark.parametrize("format", ["JPEG", "PNG", "GIF", "BMP", "TIFF"])
def test_a_truncated_file_is_named(encoded: Callable[..., bytes], format: str) -> None:
    data = encoded(height=64, width=64, format=format)
    with pytest.raises(
        BadImageError, match=r"photos/a must be an image that can be decoded, but .+; replace it"
    ):
        decode_image(data[: len(data) // 2], "photos/a")


def test_what_is_no_image_is_named_with_the_kinds_that_are_read() -> None:
    with pytest.raises(
        BadImageError, match=rf"a\.jpg .* none of the kinds that are read \({', '.join(FORMATS)}\)"
    ):
        decode_image(b"hello", "a.jpg")


def test_postscript_is_never_started() -> None:
    with pytest.raises(BadImageError, match="none of the kinds"):
        decode_image(saved(Image.new("RGB", (3, 3)), "EPS"), "a.jpg")


def test_a_decompression_bomb_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    data = saved(Image.new("RGB", (40, 30)))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1199)
    with pytest.raises(BadImageError, match=r"big\.png must be an image that can be decoded, but .*1199"):
        decode_image(data, "big.png")
    with pytest.warns(Image.DecompressionBombWarning):  # what Pillow does between one and two limits
        Image.open(BytesIO(data))


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_bomb_is_refused_also_where_pillow_only_warns(monkeypatch: pytest.MonkeyPatch) -> None:
    data = saved(Image.new("RGB", (40, 30)))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1199)
    with pytest.raises(BadImageError, match=r"it has 40x30 pixels, over Pillow's limit of 1,199"):
        decode_image(data, "big.png")


@pytest.mark.parametrize("values", [np.full((3, 3), 0.5, np.float32), np.full((3, 3), 70000, np.int32)])
def test_numbers_without_a_known_range_are_refused(values: np.ndarray) -> None:
    with pytest.raises(BadImageError, match=r"values have no known range; save it with 8 or 16 bits"):
        decode_image(saved(Image.fromarray(values), "TIFF"), "a.tif")
