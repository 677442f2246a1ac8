"""Where and in what precision to compute: `auto` takes the best that is there."""

import torch


def choose_device(name: str = "auto") -> torch.device:
    """The device called `name`; `auto` takes CUDA, then Apple's MPS, then the CPU.

    Raises:
        ValueError: If the device is unknown or not present on this machine.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"device must be auto, cpu, cuda, cuda:N or mps, but got {name!r}.") from error
    count = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    if (device.index or 0) >= count.get(device.type, 0):
        raise ValueError(f"device {name!r} is not available on this machine; use --device auto or cpu.")
    return device


def has_fast_bf16(device: torch.device) -> bool:
    """Whether bfloat16 matrix products are faster than float32 ones there (hardware support)."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu":
        return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return False


def choose_dtype(name: str, device: torch.device) -> torch.dtype:
    """The compute dtype called `name` (auto, float32, bfloat16, float16); `auto` is bfloat16 where fast.

    Raises:
        ValueError: If the name is none of these.
    """
    if name == "auto":
        return torch.bfloat16 if has_fast_bf16(device) else torch.float32
    dtypes = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
    if name not in dtypes:
        raise ValueError(f"dtype must be auto, float32, bfloat16 or float16, but got {name!r}.")
    return dtypes[name]
