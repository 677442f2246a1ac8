import pytest
import torch

from archaeology.core.halving import in_halves, is_out_of_memory


def limited(limit, error, seen):
    """Squares of some numbers, by a machine that holds no more than `limit` of them."""
    numbers = torch.arange(13.0)

    def run(which):
        seen.append(which.stop - which.start)
        if seen[-1] > limit:
            raise error
        return numbers[which] ** 2

    return run


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("[enforce fail] not enough memory"),
        torch.OutOfMemoryError("CUDA out of memory"),
        MemoryError(),
    ],
)
def test_halves_until_it_fits_and_the_result_is_unchanged(error):
    seen = []
    parts = list(in_halves(limited(3, error, seen), total=13, at_once=11))
    torch.testing.assert_close(torch.cat([part for _, part in parts]), torch.arange(13.0) ** 2)
    assert seen == [11, 6, 3, 3, 3, 3, 1]
    assert [index for which, _ in parts for index in range(which.start, which.stop)] == list(range(13))


def test_enough_memory_means_no_halving():
    seen = []
    assert len(list(in_halves(limited(5, MemoryError(), seen), total=13, at_once=5))) == 3
    assert seen == [5, 5, 3]
    assert list(in_halves(limited(5, MemoryError(), seen), total=0, at_once=5)) == []


def test_one_result_is_held_at_a_time():
    seen = []
    parts = in_halves(limited(5, MemoryError(), seen), total=13, at_once=5)
    next(parts)
    assert seen == [5]


def test_errors_say_what_to_do():
    with pytest.raises(ValueError, match="at_once must be at least 1, but got at_once=0"):
        list(in_halves(limited(5, MemoryError(), []), total=3, at_once=0))
    with pytest.raises(RuntimeError, match="Memory must suffice for one image at a time"):
        list(in_halves(limited(0, RuntimeError("out of memory"), []), total=3, at_once=2))
    seen = []
    with pytest.raises(RuntimeError, match="sizes differ"):
        list(in_halves(limited(0, RuntimeError("sizes differ"), seen), total=3, at_once=2))
    assert seen == [2]


def test_what_counts_as_out_of_memory():
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory")) and is_out_of_memory(MemoryError())
    assert is_out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory"))
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes")) and not is_out_of_memory(
        OSError("out of memory")
    )
