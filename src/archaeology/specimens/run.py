"""A checkpoint folder back into a model: every tensor accounted for, nothing unpickled, nothing guessed.

Reads what `training/checkpoint.py` writes: `model.safetensors` and `config.json` (format 1).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from archaeology.core.names import first_few
from archaeology.core.storage import read_json, read_tensors
from archaeology.models.registry import build
from archaeology.specimens.anatomy import transformer_target
from archaeology.specimens.layout import TokenLayout
from archaeology.specimens.module import check_output
from archaeology.specimens.registry import Options, libraries
from archaeology.specimens.specimen import Specimen

FORMAT = 1
IMAGE_TEXT = "image_text"  # the one architecture of made-up examples whose encoder of images is a specimen
#: What config.json must hold besides the format: the type of each entry, and of its items and their number.
NEEDED: dict[str, tuple[type, type | None, int | None]] = {
    "architecture": (str, None, None),
    "arguments": (dict, None, None),
    "classes": (list, str, None),
    "image_size": (list, int, 2),
    "mean": (list, float, 3),
    "std": (list, float, 3),
}
PICKLES = (".pt", ".pth", ".bin", ".ckpt", ".pkl")


@libraries.register("run")
def load_run_spec(name: str, options: Options) -> Specimen:
    """A checkpoint folder that `archaeology train` wrote.

    Of a model of images and texts it is the encoder of images, which gives embeddings.

    Raises:
        ValueError: If there are options, which it does not take, or the folder is not a whole checkpoint.
    """
    if options:
        raise ValueError(f"run:{name} takes no options after '?', but got {', '.join(options)}.")
    config = Path(name) / "config.json"
    if config.is_file() and is_image_text(read_json(config)):
        from archaeology.specimens.image_text_run import load_image_text_run  # which reads folders as we do

        return load_image_text_run(name, {}).specimen
    return load_run(Path(name))


def is_image_text(config: Any) -> bool:
    """Whether this describes a run of a model of images and texts."""
    return isinstance(config, dict) and config.get("architecture") == IMAGE_TEXT


def load_run(folder: Path, *, name: str | None = None) -> Specimen:
    """The model in a checkpoint folder, on the CPU, in float32.

    Args:
        folder: Holds `model.safetensors` and `config.json`.
        name: What to call the specimen; `run:FOLDER` if not given.

    Raises:
        FileNotFoundError: If the folder or one of the two files is missing.
        ValueError: If the path is a pickle, the format is not ours, the file is broken, or tensors are
            missing, left over or of another shape than the architecture has.
        UnknownNameError: If no architecture has that name.
    """
    config = read_config(folder)
    model = build(config["architecture"], config["arguments"])
    fill(model, read_tensors(folder / "model.safetensors"), folder / "model.safetensors")
    token_layout = getattr(model, "token_layout", None)
    layout = TokenLayout(**token_layout()) if token_layout is not None else None
    specimen = Specimen(
        name=name or f"run:{folder}",
        model=model.eval(),
        kind="convolutional" if layout is None else "transformer",
        classes=tuple(config["classes"]),
        image_size=tuple(config["image_size"]),
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
        layout=layout,
        target_layer=getattr(model, "target_layer", None) or transformer_target(model),
        facts={"architecture": config["architecture"], **config.get("facts", {}), **_unusual_readout(layout)},
    )
    check_output(specimen)
    return specimen


def _unusual_readout(layout: TokenLayout | None) -> dict[str, str]:
    """In words, a readout of two heads, for which a layout has no name."""
    if layout is None or "distillation" not in layout.prefix:
        return {}
    return {"readout": "mean of the classifier and the distillation head; maps read the class token"}


def read_config(folder: Path) -> dict[str, Any]:
    """`config.json` of a checkpoint folder, checked to be one that this version can read.

    Raises:
        FileNotFoundError: If there is no such folder or file.
        ValueError: If it is a pickle, or not a checkpoint of ours.
    """
    check_folder(folder)
    config = read_json(folder / "config.json")
    if not isinstance(config, dict) or "format" not in config:
        raise ValueError(
            f"{folder / 'config.json'} must be a checkpoint of this library, but has no 'format' "
            f"(a Hugging Face folder? then try 'hf:{folder}')."
        )
    if config.get("task") == "stream":
        raise ValueError(
            f"{folder} must hold an image classifier, but {config.get('recipe')} redraws made-up examples; look at "
            f"it with `archaeology figures --runs {folder}`."
        )
    if config["format"] != FORMAT:
        raise ValueError(
            f"{folder / 'config.json'} must have format {FORMAT}, but has {config['format']!r}; "
            "read it with the version of attention-archaeology that wrote it."
        )
    wrong = [
        key for key, (kind, item, count) in NEEDED.items() if not _is(config.get(key), kind, item, count)
    ]
    if wrong:
        raise ValueError(
            f"{folder / 'config.json'} must have {', '.join(NEEDED)} as `archaeology train` writes them, "
            f"but {', '.join(wrong)} is missing or malformed; restore the file or train again."
        )
    return config


def check_folder(folder: Path) -> None:
    """Raise unless this is a folder with a `config.json`.

    Raises:
        FileNotFoundError: If there is no such folder or file.
        ValueError: If it is a pickle.
    """
    if folder.suffix in PICKLES:
        raise ValueError(
            f"run: takes a checkpoint folder with model.safetensors, but got {folder}: a pickle can run any "
            "program when it is opened, so none is; load it in a script of your own and use "
            "archaeology.of_module(model, ...)."
        )
    if not folder.is_dir():
        raise FileNotFoundError(
            f"run: takes a checkpoint folder, but there is no folder {folder}; name the one that holds "
            "config.json and model.safetensors."
        )
    if not (folder / "config.json").is_file():
        raise FileNotFoundError(
            f"{folder} must hold config.json and model.safetensors, but has no config.json."
        )


def _is(value: object, kind: type, item: type | None, count: int | None) -> bool:
    if not isinstance(value, kind):
        return False
    if item is None or not isinstance(value, list):
        return True
    accepted = (int, float) if item is float else item
    return all(isinstance(one, accepted) for one in value) and count in (None, len(value))


def fill(model: nn.Module, tensors: Mapping[str, Tensor], source: Path) -> None:
    """Copy `tensors` into the model's parameters and buffers, all of them and nothing else.

    Raises:
        ValueError: If names or shapes differ; says which.
    """
    expected = model.state_dict()
    missing = [name for name in expected if name not in tensors]
    extra = [name for name in tensors if name not in expected]
    reshaped = [
        f"{name} {tuple(tensors[name].shape)} instead of {tuple(tensor.shape)}"
        for name, tensor in expected.items()
        if name in tensors and tensors[name].shape != tensor.shape
    ]
    complaints = {"missing": missing, "left over": extra, "of another shape": reshaped}
    said = "; ".join(f"{what}: {first_few(names)}" for what, names in complaints.items() if names)
    if said:
        raise ValueError(
            f"{source} must hold exactly the tensors of the architecture in config.json, but some are {said}."
        )
    # Copying casts: weights kept in bfloat16 become float32 again.
    model.load_state_dict(dict(tensors))
