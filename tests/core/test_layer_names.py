"""Names of layers: a block keeps its number, a stem says so, and what is neither is called by its path."""

from archaeology.core.layer_names import layer_name, layer_numbers

DOCUMENT = {
    "specimens": [
        {"name": "a", "layers": ["conv1", "blocks.0", "blocks.5", "head"], "numbers": [0, 1, 6, None]},
        {"name": "old", "layers": ["blocks.0"]},
    ]
}


def test_a_block_keeps_its_number_where_others_were_not_read():
    numbers = layer_numbers(DOCUMENT, "a")
    assert [layer_name(path, numbers) for path in numbers] == [
        "the stem (conv1)",
        "layer 1 of 6",
        "layer 6 of 6",
        "head",
    ]


def test_without_numbers_a_layer_is_called_by_its_path():
    assert layer_name("blocks.0", layer_numbers(DOCUMENT, "old")) == "blocks.0"
    assert layer_name("blocks.0", layer_numbers({}, "none")) == "blocks.0"
