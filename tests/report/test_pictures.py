import base64
import io

import numpy as np
import pytest
from PIL import Image

from archaeology.report.pictures import (
    Scale,
    atlas,
    attention_scale,
    heat_colours,
    heat_uri,
    photo_uri,
    ramp_uri,
    shared_scale,
    side_by_side,
)


def opened(uri):
    """The picture in a data URI."""
    head, data = uri.split(",", 1)
    assert head.startswith("data:image/") and head.endswith(";base64")
    return Image.open(io.BytesIO(base64.b64decode(data)))


def test_a_heat_map_has_one_pixel_for_each_value():
    picture = opened(heat_uri(np.linspace(0, 1, 15).reshape(3, 5)))
    assert picture.size == (5, 3)
    pixels = np.asarray(picture.convert("RGBA")).reshape(15, 4).astype(int)
    assert (np.diff(pixels[:, 3]) > 0).all()
    assert pixels[0, 3] == 0


def test_its_colours_rise_in_lightness_so_that_they_survive_colour_blindness_and_grey():
    colours = heat_colours().astype(float)
    lightness = colours[:, :3] @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(lightness) > -0.5).all()
    assert lightness[-1] - lightness[0] > 200


def test_values_outside_and_unknown_take_the_ends():
    pixels = np.asarray(opened(heat_uri(np.array([[-1.0, 0.0, 1.0, 2.0, np.nan]]))).convert("RGBA"))[0]
    np.testing.assert_array_equal(pixels[0], pixels[1])
    np.testing.assert_array_equal(pixels[2], pixels[3])
    np.testing.assert_array_equal(pixels[4], pixels[1])


def test_the_ramp_shows_every_level():
    assert opened(ramp_uri()).size == (len(heat_colours()), 1)


@pytest.mark.parametrize(("size", "kind"), [((5, 7), "PNG"), ((96, 64), "PNG"), ((97, 120), "WEBP")])
def test_small_photos_stay_exact_and_large_ones_are_compressed(size, kind):
    pixels = np.random.default_rng(0).integers(0, 256, (3, *size), dtype=np.uint8)
    picture = opened(photo_uri(pixels))
    assert picture.format == kind and picture.size == size[::-1]
    if kind == "PNG":
        np.testing.assert_array_equal(np.moveaxis(np.asarray(picture), -1, 0), pixels)


def test_huge_photos_are_made_smaller_in_their_own_shape():
    assert opened(photo_uri(np.zeros((3, 640, 480), np.uint8))).size == (240, 320)


def test_a_grey_photo_has_one_channel():
    assert opened(photo_uri(np.zeros((1, 5, 7), np.uint8))).mode == "L"


def test_maps_are_laid_out_layers_down_and_heads_across():
    maps = np.arange(2.0 * 3 * 5 * 7).reshape(2, 3, 5, 7)
    whole = atlas(maps)
    assert whole.shape == (10, 21)
    np.testing.assert_array_equal(whole[5:10, 14:21], maps[1, 2])
    np.testing.assert_array_equal(side_by_side(maps[0])[:, 7:14], maps[0, 1])


def test_a_scale_codes_values_as_it_says():
    values = np.array([0.0, 1.0, 4.0, 5.0])
    np.testing.assert_allclose(Scale(0.0, 4.0, "linear", "").place(values), [0, 0.25, 1, 1])
    np.testing.assert_allclose(Scale(0.0, 4.0, "square root", "").place(values), [0, 0.5, 1, 1])


def test_ticks_stand_where_their_values_are_coloured():
    scale = Scale(0.0, 9.0, "square root", "", is_clipped=True)
    assert scale.ticks() == [(0, "0"), (50, "2.2"), (100, "≥ 9.0")]
    for place, value in zip((0, 50, 100), (0.0, 2.25, 9.0), strict=True):
        assert 100 * float(scale.place(np.array([value]))[0]) == pytest.approx(place, abs=0.01)


def test_a_shared_scale_leaves_out_lone_outliers_and_says_so():
    values = np.concatenate([np.linspace(1, 2, 999), [50.0]])
    scale = shared_scale(values, coding="linear", unit="")
    assert scale.low == 0 and 1.9 < scale.high < 3 and scale.is_clipped
    assert not shared_scale(values[:-1], coding="linear", unit="", least_high=2.0).is_clipped


def test_attention_that_is_spread_evenly_stays_dark():
    scale = attention_scale(np.linspace(0.97, 1.03, 50), coding="linear")
    assert (scale.low, scale.high) == (1, 2)
    assert scale.place(np.array([0.5, 1.0, 1.03])).max() == pytest.approx(0.03)
    assert scale.ticks()[0][1] == "≤ 1.0"


@pytest.mark.parametrize("values", [np.zeros(7), np.full(7, np.nan), np.zeros(0), np.full(7, 3.0)])
def test_a_scale_of_nothing_special_still_has_two_ends(values):
    scale = shared_scale(values, coding="linear", unit="")
    assert scale.high > scale.low
