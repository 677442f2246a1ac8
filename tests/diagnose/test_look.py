"""Two numbers a head, against loops written from their definitions; worlds and windows are looked at as well."""

import json
import math

import pytest
import torch

from archaeology.core.storage import write_json, write_tensors
from archaeology.diagnose import diagnose, look_at
from archaeology.diagnose.look import below_uniform, strength
from archaeology.models import ViT
from archaeology.models.registry import build
from archaeology.recipes.recipe import recipes


def test_the_distance_from_uniform_is_that_of_the_definition():
    generator = torch.Generator().manual_seed(1)
    pattern = torch.rand(2, 3, 5, 7, generator=generator)
    pattern[:, :, 1, 3:] = 0  # this query sees three keys
    pattern[:, :, 4, 1:] = 0  # and this one a single key, which says nothing
    pattern[:, 2] = 0.125  # all alike, though the rows do not sum to one
    pattern[:, 2, 4, 1:] = 0
    found = below_uniform(pattern)
    for head in range(3):
        gaps = []
        for example in range(2):
            for query in range(4):
                row = [weight for weight in pattern[example, head, query].tolist() if weight > 0]
                shares = [weight / sum(row) for weight in row]
                gaps.append(math.log(len(row)) + sum(share * math.log(share) for share in shares))
        assert float(found[head]) == pytest.approx(sum(gaps) / len(gaps), abs=1e-5)
    assert abs(float(found[2])) < 1e-6


def test_strength_is_the_length_of_what_a_head_adds():
    generator = torch.Generator().manual_seed(2)
    output, projection = (
        torch.randn(2, 3, 5, 7, generator=generator),
        torch.randn(11, 21, generator=generator),
    )
    found = strength(output, projection)
    for head in range(3):
        lengths = []
        for example in range(2):
            for query in range(5):
                others_muted = torch.zeros(3, 7)
                others_muted[head] = output[example, head, query]
                lengths.append(float((projection @ others_muted.flatten()).norm()))
        assert float(found[head]) == pytest.approx(sum(lengths) / len(lengths), rel=1e-5)
    torch.testing.assert_close(strength(output, None), output.norm(dim=-1).mean(dim=(0, 2)))


def test_every_layer_is_looked_at_and_the_model_is_left_as_it_was():
    model = ViT(12, 4, 3, embed_dim=24, depth=3, num_heads=3).train()
    layers = look_at(model, lambda: model(torch.randn(2, 3, 12, 12)))
    assert [layer.module for layer in layers] == [f"blocks.{number}.attn" for number in range(3)]
    assert all(layer.is_projected and layer.num_keys == 9 and len(layer.strength) == 3 for layer in layers)
    assert layers[1].words == "layer 2 (blocks.1.attn)"
    assert model.training
    with torch.no_grad():
        model.blocks[2].attn.proj.weight[:, 8:16] = 0
    (_, _, last) = look_at(model, lambda: model(torch.randn(2, 3, 12, 12)))
    assert (last.strength == 0).tolist() == [False, True, False]


def test_a_world_is_looked_at_on_its_own_examples(tmp_path):
    recipe = recipes.get("shapes1d_attention")()
    torch.manual_seed(0)
    model = build(recipe.architecture, recipe.arguments)
    with torch.no_grad():
        model.blocks[1].attn.qkv.weight[:128] = 0
        model.blocks[1].attn.qkv.bias[:128] = 0
    card = {"format": 1, "task": "stream", "recipe": "shapes1d_attention", "facts": {"seed": 0}}
    card |= {"architecture": recipe.architecture, "arguments": dict(recipe.arguments)}
    write_json(tmp_path / "config.json", card)
    write_tensors(tmp_path / "model.safetensors", model.state_dict())
    losses = [0.04, 0.004, 0.002, 0.001, 0.0006, 0.0004, 0.0003, 0.0003]
    lines = [
        {"step": 50 * n, "loss": loss, "rate": 1 - n / 9, "progress": n / 8, "seconds": 1.0 * n}
        for n, loss in enumerate(losses, 1)
    ]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (tmp_path / "run.json").write_text(json.dumps({"scores": {}, "config": recipe.config.model_dump()}))
    report = diagnose(tmp_path)
    assert [found.name for found in report.diagnoses] == ["uniform_attention"]
    assert "blocks.1.attn" in report.diagnoses[0].evidence and "made-up examples" in report.note
