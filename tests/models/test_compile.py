"""Image models compile in one piece: a graph that breaks in every block would give most of the speed away."""

import subprocess
import sys

# In a process of its own: the checks of shapes that tests run with cannot be compiled.
SCRIPT = """
import torch
from archaeology.models import DeiT, Swin, ViT, set_drop_path

small = {"embed_dim": 16, "depth": 1, "num_heads": 2}
made = {
    "float32": ViT(8, 4, **small, stem="convolutional", layer_scale=0.1),
    "bfloat16": DeiT(8, 4, **small, norm="post"),
    "windows": Swin(16, embed_dim=16, depths=(2,), num_heads=(2,)),
}
for kind, model in made.items():
    set_drop_path(model, 0.1)
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    with torch.autocast("cpu", torch.bfloat16, enabled=kind == "bfloat16"):
        logits = compiled(torch.randn(2, 3, *model.image_size))
    (logits[0] if isinstance(logits, tuple) else logits).sum().backward()
    print(kind)
"""


def test_a_training_pass_is_one_graph():
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split() == ["float32", "bfloat16", "windows"]
