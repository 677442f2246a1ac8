"""What the rows say: medians, tenth and ninetieth percentiles, and short names to tell specimens apart by."""

import platform
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from archaeology.profiling.config import ProfileConfig
from archaeology.profiling.count import Count
from archaeology.profiling.directory import Cost, Profile
from archaeology.profiling.measurements import Measurements
from archaeology.profiling.subject import Subject
from archaeology.specimens.specimen import Specimen

PROCESSORS = Path("/proc/cpuinfo")


def profile_of(
    name: str,
    subject: Subject,
    specimen: Specimen,
    count: Count,
    rows: Measurements,
    config: ProfileConfig,
) -> Profile:
    """All that is known of one specimen."""
    layout = specimen.layout
    costs = (cost_of(subject.key, batch, rows) for batch in config.batch_sizes)
    return Profile(
        name=name,
        spec=subject.spec,
        kind=specimen.kind,
        image_size=specimen.image_size,
        patch_size=subject.patch_size,
        tokens=layout.num_tokens if layout is not None and layout.order == "flat" else None,
        parameters=count.parameters,
        weight_mebibytes=count.weight_mebibytes,
        flops=count.flops,
        pair_flops=count.pair_flops,
        formula_flops=count.formula_flops,
        costs=tuple(cost for cost in costs if cost is not None),
    )


def cost_of(key: str, batch: int, rows: Measurements) -> Cost | None:
    """Percentiles of the rounds, linear between neighbours; None where nothing was timed."""
    seconds = rows.values(key, batch, "seconds")
    if not seconds:
        return None
    low, middle, high = (float(value) for value in np.quantile(seconds, (0.1, 0.5, 0.9)))
    return Cost(
        batch=batch,
        milliseconds=1e3 * middle,
        low=1e3 * low,
        high=1e3 * high,
        images_per_second=batch / middle,
        mebibytes=next(iter(rows.values(key, batch, "mebibytes")), None),
        rounds=len(seconds),
    )


def names_of(subjects: Sequence[Subject], specimens: Mapping[Subject, Specimen]) -> dict[Subject, str]:
    """Names as short as they can be: no prefix, options or image size where it needs none of them to be told apart."""
    bare = {subject: _bare(subject.spec) for subject in subjects}
    plain = {
        subject: subject.spec.partition("?")[0].partition(":")[2] or subject.spec for subject in subjects
    }
    shared = Counter(plain[subject] for subject in {s.spec: s for s in subjects}.values())
    sized = Counter((subject.spec, subject.patch_size) for subject in subjects)
    names = {}
    for subject in subjects:
        name = plain[subject] if shared[plain[subject]] == 1 else bare[subject]
        if subject.patch_size is not None:
            name += f", patch {subject.patch_size}"
        if sized[subject.spec, subject.patch_size] > 1:
            name += f", {specimens[subject].image_size[0]} pixels"
        names[subject] = name
    return names


def _bare(spec: str) -> str:
    """The spec without what everybody knows."""
    name, _, query = spec.partition("?")
    options = [option for option in query.split("&") if option and option != "pretrained=false"]
    return name + ("?" + "&".join(options) if options else "")


def machine_name(device: str) -> str:
    """What the processor or the GPU is called."""
    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    if device == "cpu" and PROCESSORS.is_file():
        for line in PROCESSORS.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
