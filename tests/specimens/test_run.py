import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from archaeology.core.errors import UnknownNameError
from archaeology.models.registry import build
from archaeology.specimens import bundled
from archaeology.specimens.bundled import bundled_folder, bundled_names
from archaeology.specimens.layout import TokenLayout
from archaeology.specimens.load import load
from archaeology.specimens.run import load_run


def change_config(folder: Path, **changes: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    kept = {key: value for key, value in (config | changes).items() if value is not ...}
    (folder / "config.json").write_text(json.dumps(kept))


def change_tensors(folder: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")


def test_gives_the_saved_model_back(checkpoint: Path) -> None:
    specimen = load(f"run:{checkpoint}", device="cpu")

    config = json.loads((checkpoint / "config.json").read_text())
    twin = build(config["architecture"], config["arguments"]).eval()
    twin.load_state_dict(load_file(checkpoint / "model.safetensors"))
    images = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    mean, std = (torch.tensor(config[key]).view(1, 3, 1, 1) for key in ("mean", "std"))
    torch.testing.assert_close(specimen.predict(images), twin((images - mean) / std))
    assert specimen.name == f"run:{checkpoint}"
    assert specimen.classes == ("ant", "bee", "cat", "dog", "eel")
    assert specimen.image_size == (16, 16)
    assert specimen.facts == {"architecture": "vit", "recipe": "made_for_a_test"}
    assert not specimen.model.training


def test_layout_and_target_come_from_the_model(make_checkpoint: Callable[..., Path]) -> None:
    vit = load_run(make_checkpoint("vit", pooling="class_token", num_registers=2))
    cnn = load_run(make_checkpoint("convnet"))

    assert vit.layout == TokenLayout(4, 4, ("class", "register", "register"), "class_token")
    assert (vit.kind, vit.target_layer) == ("transformer", "blocks.1.norm1")
    assert (cnn.kind, cnn.layout) == ("convolutional", None)
    assert cnn.target_layer is not None and cnn.model.get_submodule(cnn.target_layer) is not None


def test_bfloat16_weights_become_float32(make_checkpoint: Callable[..., Path]) -> None:
    folder = make_checkpoint("vit", "bfloat16")
    assert {tensor.dtype for tensor in load_file(folder / "model.safetensors").values()} == {torch.bfloat16}

    specimen = load_run(folder)

    assert {parameter.dtype for parameter in specimen.model.parameters()} == {torch.float32}
    saved = load_file(folder / "model.safetensors")["head.weight"].float()
    torch.testing.assert_close(specimen.model.get_parameter("head.weight").detach(), saved, rtol=0, atol=0)


def test_tensors_must_all_be_there(checkpoint: Path) -> None:
    change_tensors(checkpoint, lambda tensors: tensors.pop("head.weight"))

    with pytest.raises(ValueError, match=r"must hold exactly the tensors.*missing: head.weight"):
        load_run(checkpoint)


def test_no_tensor_may_be_left_over(checkpoint: Path) -> None:
    change_tensors(checkpoint, lambda tensors: tensors.update(teacher=torch.zeros(2)))

    with pytest.raises(ValueError, match="left over: teacher"):
        load_run(checkpoint)


def test_shapes_must_agree(checkpoint: Path) -> None:
    arguments = json.loads((checkpoint / "config.json").read_text())["arguments"]
    change_config(checkpoint, arguments=arguments | {"num_classes": 6})

    with pytest.raises(
        ValueError, match=r"of another shape: head.weight \(5, 16\) instead of \(6, 16\), head.bias"
    ):
        load_run(checkpoint)


def test_classes_must_be_as_many_as_logits(checkpoint: Path) -> None:
    change_config(checkpoint, classes=["ant", "bee"])

    with pytest.raises(ValueError, match="must have a name for every logit, but has 2 classes and 5 logits"):
        load_run(checkpoint)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 2}, "must have format 1, but has 2; read it with the version"),
        ({"format": ...}, "has no 'format' .*then try 'hf:"),
        ({"mean": ...}, "but mean is missing or malformed"),
        ({"image_size": 16}, "but image_size is missing or malformed"),
        ({"std": [1.0, 1.0], "classes": "ant"}, "but classes, std is missing or malformed"),
    ],
)
def test_config_must_be_ours_and_whole(checkpoint: Path, changes: dict[str, Any], message: str) -> None:
    change_config(checkpoint, **changes)

    with pytest.raises(ValueError, match=message):
        load_run(checkpoint)


def test_unknown_architecture_and_argument(checkpoint: Path) -> None:
    change_config(checkpoint, architecture="vitt")
    with pytest.raises(UnknownNameError, match=r"'vitt'; did you mean 'vit'\?"):
        load_run(checkpoint)
    change_config(checkpoint, architecture="vit", arguments={"dept": 2})
    with pytest.raises(UnknownNameError, match=r"'dept'; did you mean 'depth'\?"):
        load_run(checkpoint)


def test_pickles_are_refused_unread(tmp_path: Path) -> None:
    for suffix in (".pt", ".pth", ".bin", ".ckpt"):
        (tmp_path / f"model{suffix}").write_bytes(b"cos\nsystem\n(S'touch owned'\ntR.")
        with pytest.raises(ValueError, match=r"a pickle can run any program.*archaeology.of_module"):
            load(f"run:{tmp_path / f'model{suffix}'}")


def test_missing_and_broken_files(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*nowhere; name the one that holds"):
        load(f"run:{tmp_path / 'nowhere'}")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=r"has no config.json"):
        load(f"run:{tmp_path / 'empty'}")
    whole = (checkpoint / "model.safetensors").read_bytes()
    (checkpoint / "model.safetensors").write_bytes(whole[:-7])
    with pytest.raises(ValueError, match="must be a whole safetensors file"):
        load(f"run:{checkpoint}")
    (checkpoint / "model.safetensors").unlink()
    with pytest.raises(
        FileNotFoundError, match=r"model.safetensors must be a safetensors file, but there is no"
    ):
        load(f"run:{checkpoint}")
    (checkpoint / "config.json").write_text("{")
    with pytest.raises(ValueError, match="must hold JSON"):
        load(f"run:{checkpoint}")


def test_takes_no_options(checkpoint: Path) -> None:
    with pytest.raises(ValueError, match=r"takes no options after '[?]', but got depth"):
        load(f"run:{checkpoint}?depth=3")


def test_every_bundled_specimen_loads() -> None:
    for name in bundled_names():
        specimen = load(f"bundled:{name}", device="cpu")

        assert specimen.name == f"bundled:{name}"
        assert (bundled_folder() / name / "model.safetensors").stat().st_size < 2_000_000
        assert (bundled_folder() / name / "README.md").is_file()


def test_bundled_by_name(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(checkpoint, checkpoint.parent / "bundled" / "vit_world")
    monkeypatch.setattr(bundled, "bundled_folder", lambda: checkpoint.parent / "bundled")

    assert bundled_names() == ["vit_world"]
    assert load("bundled:vit_world", device="cpu").fingerprint() == load_run(checkpoint).fingerprint()
    with pytest.raises(UnknownNameError, match=r"'vit_word'; did you mean 'vit_world'\? Known: vit_world"):
        load("bundled:vit_word")
    with pytest.raises(ValueError, match="bundled:vit_world takes no options"):
        load("bundled:vit_world?depth=1")
    with pytest.raises(UnknownNameError, match="did you mean 'bundled:vit_world'"):
        load("vit_world")
