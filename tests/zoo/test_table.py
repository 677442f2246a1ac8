"""The table of the zoo holds every mechanism, and says of each what it says of itself."""

import pytest

from archaeology.attention import mechanisms
from archaeology.attention.layers import layers
from archaeology.core.errors import UnknownNameError
from archaeology.zoo.table import RELATIONS, author_and_year, entries, markdown_table


def test_every_mechanism_and_every_layer_has_one_row_with_its_facts():
    found = {entry.name: entry for entry in entries()}
    assert set(found) == {*mechanisms, *layers} and len(entries()) == len(found)
    for name, entry in found.items():
        thing = mechanisms.get(name) if name in mechanisms else layers.get(name)
        assert entry.kind == ("mechanism" if name in mechanisms else "layer")
        assert (entry.formula, entry.time, entry.memory) == (
            thing.facts.formula,
            thing.facts.time,
            thing.facts.memory,
        )
        assert entry.is_causal == ("causal" in thing.supports)
        assert entry.relation in RELATIONS
        assert 1900 < entry.year < 2100 and entry.author.isalpha()


def test_the_nearest_to_softmax_come_first():
    order = [list(RELATIONS).index(entry.relation) for entry in entries()]
    assert order == sorted(order)
    assert entries()[0].name == "softmax"


def test_some_by_name():
    (entry,) = entries(["softmax"])
    assert (entry.author, entry.year, entry.source) == ("Vaswani", 2017, "vaswani2017attention")
    assert entry.is_causal and entry.rows_sum_to_one and entry.relation == "exact"


def test_a_misspelt_name_gets_the_near_miss():
    with pytest.raises(UnknownNameError, match="called 'softmx'; did you mean 'softmax'"):
        entries(["softmx"])


@pytest.mark.parametrize("key", ["Vaswani2017attention", "vaswani17attention", "vaswani2017"])
def test_a_source_that_is_no_key_is_refused(key):
    with pytest.raises(ValueError, match=r"must be a key of docs/references\.bib"):
        author_and_year(key)


def test_bars_do_not_break_the_table_in_markdown():
    lines = markdown_table(entries()).splitlines()
    assert len(lines) == len(entries()) + 2
    assert {line.replace("\\|", "").count("|") for line in lines} == {9}
