"""Which device and which precision a word means."""

import pytest
import torch

from archaeology.core import device as module
from archaeology.core.device import choose_device, choose_dtype, has_fast_bf16


def pretend(monkeypatch: pytest.MonkeyPatch, *, cuda: int, mps: bool) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)


@pytest.mark.parametrize(("cuda", "mps", "best"), [(0, False, "cpu"), (0, True, "mps"), (2, True, "cuda")])
def test_auto_takes_the_best(monkeypatch: pytest.MonkeyPatch, cuda: int, mps: bool, best: str) -> None:
    pretend(monkeypatch, cuda=cuda, mps=mps)
    assert choose_device() == torch.device(best)
    assert choose_device(best) == torch.device(best)


def test_absent_devices_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, cuda=0, mps=False)
    for name in ("cuda", "cuda:0", "mps", "meta", "xla"):
        with pytest.raises(
            ValueError, match=f"device '{name}' is not available on this machine; use --device auto or cpu"
        ):
            choose_device(name)
    pretend(monkeypatch, cuda=2, mps=False)
    assert choose_device("cuda:1") == torch.device("cuda:1")
    with pytest.raises(ValueError, match="device 'cuda:2' is not available"):
        choose_device("cuda:2")


@pytest.mark.parametrize("name", ["gpu", "", "cuda:-1", "CPU"])
def test_unknown_devices_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"device must be auto, cpu, cuda, cuda:N or mps, but got '{name}'"):
        choose_device(name)


def test_dtype_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = torch.device("cpu")
    assert choose_dtype("float32", cpu) is torch.float32
    assert choose_dtype("bfloat16", cpu) is torch.bfloat16
    assert choose_dtype("float16", cpu) is torch.float16
    for is_fast, dtype in ((True, torch.bfloat16), (False, torch.float32)):
        monkeypatch.setattr(module, "has_fast_bf16", lambda device, answer=is_fast: answer)
        assert choose_dtype("auto", cpu) is dtype
    with pytest.raises(ValueError, match="dtype must be auto, float32, bfloat16 or float16, but got 'half'"):
        choose_dtype("half", cpu)


def test_fast_bf16_is_a_claim_about_this_machine() -> None:
    assert has_fast_bf16(torch.device("cpu")) in (True, False)
    assert has_fast_bf16(torch.device("mps")) is False
