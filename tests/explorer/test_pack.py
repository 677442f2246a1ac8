import json
import struct

import hypothesis.extra.numpy as arrays
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from archaeology.explorer.pack import Plain, SquareRoot, coded, decoded, pack, unpack

rows_of_weights = arrays.arrays(
    np.float32,
    arrays.array_shapes(min_dims=1, max_dims=3, max_side=7),
    elements=st.floats(0, 1e6, width=32, allow_subnormal=True),
)


@settings(deadline=None, derandomize=True, max_examples=200)
@given(rows_of_weights)
def test_a_decoded_value_is_within_the_stated_error(values):
    found = decoded(*coded(values))
    scale = values.max(-1, keepdims=True).astype(np.float64)
    share = np.sqrt(values / np.where(scale > 0, scale, 1))
    bound = scale * (2 * share + 1 / 510) / 510
    assert (np.abs(found - values.astype(np.float64)) <= bound * (1 + 1e-4) + 1e-40).all()
    assert found.shape == values.shape


@settings(deadline=None, derandomize=True, max_examples=200)
@given(rows_of_weights)
def test_no_two_weights_of_a_row_swap_their_ranks(values):
    found = decoded(*coded(values))
    order = np.argsort(values, axis=-1, kind="stable")
    assert (np.diff(np.take_along_axis(found, order, -1), axis=-1) >= 0).all()


def test_the_largest_and_zero_come_back_exactly():
    values = np.array([[0, 0.7, 0.1], [0, 0, 0], [1e-30, 2e-30, 0]], np.float32)
    found = decoded(*coded(values))
    np.testing.assert_array_equal(found.max(-1), values.max(-1))
    np.testing.assert_array_equal(found[values == 0], 0)


def test_ranks_survive_in_a_sharp_head_where_linear_coding_loses_them():
    random = np.random.default_rng(0)
    scores = random.normal(0, 1, (50, 197)).astype(np.float32)
    scores[:, 0] += 8  # one key takes most of the weight
    weights = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
    linear = np.round(255 * weights / weights.max(-1, keepdims=True))
    found = decoded(*coded(weights))
    by_root = np.mean([spearmanr(*pair).statistic for pair in zip(weights, found, strict=True)])
    by_line = np.mean([spearmanr(*pair).statistic for pair in zip(weights, linear, strict=True)])
    assert by_root > 0.98
    assert by_line < 0.9


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, -1e-3])
def test_what_cannot_be_coded_is_refused(bad):
    values = np.ones((2, 3), np.float32)
    values[1, 1] = bad
    with pytest.raises(ValueError, match="must be finite and not negative"):
        coded(values)


def test_a_container_gives_back_what_was_packed():
    random = np.random.default_rng(1)
    weights = random.random((2, 3, 5)).astype(np.float16)
    document = {
        "name": "Ärger < & \u2028",
        "missing": float("nan"),
        "list": [Plain(np.arange(7, dtype=np.int32)), {"deep": Plain(random.random((3, 1)).astype("f4"))}],
        "bytes": Plain(random.integers(0, 255, (5, 1, 3), dtype=np.uint8)),
        "halves": Plain(weights),
        "words": Plain(np.array([1, 65535], np.uint16)),
        "coded": SquareRoot(weights),
        "none": SquareRoot(np.zeros((0, 4), np.float32)),
    }
    found = unpack(pack(document))
    assert found["name"] == document["name"]
    assert found["missing"] is None
    np.testing.assert_array_equal(found["list"][0], document["list"][0].values)
    np.testing.assert_array_equal(found["list"][1]["deep"], document["list"][1]["deep"].values)
    for name in ("bytes", "halves", "words"):
        np.testing.assert_array_equal(found[name], document[name].values)
        assert found[name].dtype == document[name].values.dtype
    np.testing.assert_array_equal(found["coded"], decoded(*coded(weights)))
    assert found["none"].shape == (0, 4)


def test_the_bytes_lie_as_javascript_reads_them():
    """Read by hand, as subject.js does: every block starts at a multiple of 8 from the start of the file."""
    weights = np.array([[0.25, 1.0, 0.0]], np.float32)
    data = pack({"odd": Plain(np.array([1, 2, 3], np.uint8)), "pattern": SquareRoot(weights)})
    assert data[:4] == b"AAX1"
    (length,) = struct.unpack("<I", data[4:8])
    first = -(-(8 + length) // 8) * 8
    document = json.loads(data[8 : 8 + length])
    assert document["odd"] == {"at": 0, "shape": [3], "type": "u8", "coding": "plain"}
    pattern = document["pattern"]
    assert (pattern["coding"], pattern["type"], pattern["at"]) == ("sqrt", "u8", 8)
    assert list(data[first + 8 : first + 11]) == [128, 255, 0]
    assert pattern["scales"]["shape"] == [1]
    assert struct.unpack_from("<f", data, first + pattern["scales"]["at"]) == (1.0,)
    assert len(data) % 8 == 0


def test_an_array_of_another_type_or_not_finite_is_refused():
    with pytest.raises(ValueError, match="of a type that the browser reads"):
        pack({"x": Plain(np.zeros(3))})
    with pytest.raises(ValueError, match="must be finite, but one of shape"):
        pack({"x": Plain(np.array([np.nan], np.float32))})
    with pytest.raises(ValueError, match="must have rows"):
        coded(np.array(1.0, np.float32))


def test_bytes_that_are_no_whole_container_are_refused():
    data = pack({"x": Plain(np.arange(9, dtype=np.int32))})
    with pytest.raises(ValueError, match="must begin with AAX1"):
        unpack(b"PNG" + data)
    with pytest.raises(ValueError, match="its JSON alone takes"):
        unpack(data[:20])
    with pytest.raises(ValueError, match="ends at byte"):
        unpack(data[:-16])
