"""Group alignment against loops, and against patterns whose alignment is known."""

import pytest
import torch

from archaeology.stats.alignment import GroupAlignment, MassOverArea, group_alignment

BATCH, HEADS, QUERIES, KEYS, SHAPES = 3, 2, 7, 11, 5


def example(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    pattern = torch.rand(BATCH, HEADS, QUERIES, KEYS, generator=generator).softmax(dim=-1)
    query_members = torch.rand(BATCH, SHAPES, QUERIES, generator=generator) < 0.3
    key_members = torch.rand(BATCH, SHAPES, KEYS, generator=generator) < 0.3
    query_members[:, -1] = key_members[:, -1] = False  # not there
    query_members[:, :-1, 0] = key_members[:, :-1, 0] = True
    evidence = torch.rand(BATCH, SHAPES, SHAPES, generator=generator) < 0.5
    evidence |= torch.eye(SHAPES, dtype=torch.bool)
    evidence[0, 1] = torch.eye(SHAPES, dtype=torch.bool)[1]  # only itself
    return pattern, query_members, key_members, evidence


def by_loops(
    pattern: torch.Tensor, queries: torch.Tensor, keys: torch.Tensor, evidence: torch.Tensor, *, others: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    batch, heads, num_queries, num_keys = pattern.shape
    part = torch.zeros(batch, heads, dtype=torch.float64)
    whole = torch.zeros(batch, heads, dtype=torch.float64)
    for b in range(batch):
        for head in range(heads):
            for i in range(len(queries[b])):
                own = [q for q in range(num_queries) if queries[b, i, q]]
                wanted = {
                    k
                    for j in range(len(keys[b]))
                    if evidence[b, i, j] and not (others and j == i)
                    for k in range(num_keys)
                    if keys[b, j, k]
                }
                if others:
                    wanted -= {k for k in range(num_keys) if keys[b, i, k]}
                if not own or not wanted:
                    continue
                masses = []
                for q in own:
                    row = [abs(float(weight)) for weight in pattern[b, head, q]]
                    masses.append(sum(row[k] for k in wanted) / sum(row))
                part[b, head] += sum(masses) / len(masses)
                whole[b, head] += len(wanted) / num_keys
    return part, whole


@pytest.mark.parametrize("seed", [0, 1])
def test_alignment_is_that_of_loops(seed: int) -> None:
    given = example(seed)
    found = group_alignment(*given)
    for name, others in (("all", False), ("others", True)):
        part, whole = by_loops(*given, others=others)
        measured: MassOverArea = getattr(found, name)
        torch.testing.assert_close(measured.part.double(), part, atol=1e-6, rtol=1e-5)
        torch.testing.assert_close(measured.whole.double(), whole, atol=1e-6, rtol=1e-5)
        torch.testing.assert_close(measured.value, part.sum(0) / whole.sum(0), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("scale", [1.0, 0.2, -3.0])
def test_uniform_attention_is_chance(scale: float) -> None:
    pattern, *rest = example()
    found = group_alignment(torch.full_like(pattern, scale / KEYS), *rest)
    for measured in (found.all, found.others):
        torch.testing.assert_close(measured.value, torch.ones(HEADS, dtype=torch.float64), atol=1e-6, rtol=0)
        interval = measured.intervals()
        assert interval.low == pytest.approx(1, abs=1e-6) and interval.high == pytest.approx(1, abs=1e-6)


def disjoint(area: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    """Five shapes of two tokens each, of two groups: 0, 1, 2 and 3, 4."""
    members = torch.zeros(1, SHAPES, KEYS, dtype=torch.bool)
    for shape in range(SHAPES):
        members[0, shape, area * shape : area * shape + area] = True
    group = torch.tensor([0, 0, 0, 1, 1])
    return members, (group[:, None] == group)[None]


def test_a_head_that_looks_only_at_the_evidence_scores_one_over_its_area() -> None:
    members, evidence = disjoint()
    evidence[0, 3:] = torch.eye(SHAPES, dtype=torch.bool)[3:]  # the second group: each its own evidence
    group = torch.tensor([0, 0, 0, 0, 0, 0, 1, 1, 2, 2, 3])
    at_group = (group[:, None] == group).float()
    at_itself = (torch.arange(KEYS)[:, None] // 2 == torch.arange(KEYS) // 2).float()
    pattern = torch.stack([at_group, at_itself])[None]
    pattern = pattern / pattern.sum(-1, keepdim=True)
    found = group_alignment(pattern, members, members, evidence)
    # Three shapes with six tokens of evidence out of eleven, two with two: all mass, over the mean area.
    torch.testing.assert_close(found.all.value, torch.full((2,), 5 / (22 / 11), dtype=torch.float64))
    # To others: two thirds of the first head's mass, on four of eleven; nothing of the second head's.
    torch.testing.assert_close(
        found.others.value, torch.tensor([(2 / 3) / (4 / 11), 0]).double(), atol=1e-6, rtol=0
    )
    torch.testing.assert_close(found.others.whole, torch.full((1, 2), 3 * 4 / 11))


def test_shapes_without_other_evidence_do_not_count_for_others() -> None:
    pattern, queries, keys, _ = example()
    itself = torch.eye(SHAPES, dtype=torch.bool).expand(BATCH, -1, -1).clone()
    found = group_alignment(pattern, queries, keys, itself)
    assert bool((found.others.whole == 0).all()) and bool(found.others.value.isnan().all())
    assert bool((found.all.whole > 0).all())


def test_queries_and_keys_are_not_swapped() -> None:
    members, evidence = disjoint()
    pattern = torch.zeros(1, 1, KEYS, KEYS)
    pattern[..., 0] = 1  # everybody looks at shape 0: right for the first group, wrong for the second
    measured = group_alignment(pattern, members, members, evidence).others
    assert float(measured.part) == 2  # of shapes 1 and 2
    one_way = evidence.clone()
    one_way[0, 1, 0] = False  # shape 1 may not rely on 0, but 0 on 1
    assert float(group_alignment(pattern, members, members, one_way).others.part) == 1


def test_rows_of_zeros_look_nowhere() -> None:
    pattern, *rest = example()
    found = group_alignment(torch.zeros_like(pattern), *rest)
    assert bool((found.all.part == 0).all()) and bool((found.all.value == 0).all())


def test_samples_can_be_joined_and_are_independent() -> None:
    given = example()
    whole = group_alignment(*given)
    parts = [group_alignment(*(tensor[i : i + 1] for tensor in given)) for i in range(BATCH)]
    joined = GroupAlignment.joined(parts)
    torch.testing.assert_close(joined.all.part, whole.all.part)
    torch.testing.assert_close(joined.others.whole, whole.others.whole)
    interval = whole.all.intervals(seed=3)
    assert interval.value.shape == (HEADS,) and interval.n == BATCH
    assert (interval.low <= interval.value).all() and (interval.value <= interval.high).all()
