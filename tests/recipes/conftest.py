"""Forty pictures in CIFAR-10's layout, for recipes to train on."""

import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    """CIFAR-10's layout with 40 pictures whose colour tells the class."""
    folder = tmp_path_factory.mktemp("data")
    names = [f"colour {number}" for number in range(10)]
    features = {"image": {"_type": "Image"}, "label": {"names": names, "_type": "ClassLabel"}}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    for split, seed in (("train", 0), ("test", 1)):
        rng = np.random.default_rng(seed)
        images, labels = [], []
        for index in range(40):
            pixels = rng.integers(0, 60, (32, 32, 3)) + np.array(
                [20 * (index % 10), 100, 190 - 20 * (index % 10)]
            )
            buffer = io.BytesIO()
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(buffer, "PNG")
            images.append({"bytes": buffer.getvalue(), "path": None})
            labels.append(index % 10)
        table = pa.table({"image": images, "label": labels}).replace_schema_metadata(metadata)
        pq.write_table(table, folder / f"{split}.parquet")
    return f"parquet:{folder}"
