"""Models of images and texts from three libraries behind one protocol, with random weights where none can be had."""

import json
import sys

import numpy as np
import pytest
import torch

import archaeology
from archaeology.core.errors import MissingExtraError, UnknownNameError
from archaeology.core.storage import write_json, write_tensors
from archaeology.models import ImageText
from archaeology.represent import zero_shot
from archaeology.specimens.image_text import ImageTextModel, load_image_text, softmax_scale
from archaeology.specimens.layout import TokenLayout
from archaeology.specimens.load import load

WORDS = ("a", "blue", "circle", "left", "red", "upper")
SIZES = {"image_size": 24, "patch_size": 8, "embed_dim": 16, "depth": 1, "num_heads": 2}


@pytest.fixture
def run(tmp_path):
    """A folder as `archaeology train image_text_...` writes it."""
    torch.manual_seed(0)
    arguments = {
        "words": WORDS,
        "max_length": 6,
        "embed_dim": 12,
        "image": SIZES,
        "text": {"embed_dim": 16, "depth": 1, "num_heads": 2},
    }
    model = ImageText(**arguments).eval()
    write_tensors(tmp_path / "run" / "model.safetensors", model.state_dict(), {"format": "pt"})
    described = {"format": 1, "task": "stream", "recipe": "made_up", "architecture": "image_text"}
    facts = {"facts": {"recipe": "image_text_made_up"}}
    write_json(tmp_path / "run" / "config.json", {**described, "arguments": arguments, **facts})
    return tmp_path / "run", model


def test_a_run_of_ours(run):
    folder, model = run
    found = load_image_text(f"run:{folder}", device="cpu")
    assert isinstance(found, ImageTextModel) and found.image_size == (24, 24)
    assert found.wordings == ("a {}", "a {}, upper left", "a {}, left")  # no other place is in its words
    assert found.scale == pytest.approx(1 / 0.07)
    images = torch.rand(3, 3, 24, 24, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(found.encode_images(images), model.encode_images(2 * images - 1))
        torch.testing.assert_close(found.encode_texts(["a red circle"]), model.encode_texts(["a red circle"]))
    with pytest.raises(ValueError, match="'a green circle' has green; known are a, blue"):
        found.encode_texts(["a green circle"])
    with pytest.raises(ValueError, match="at least one text"):
        found.encode_texts([])


def test_its_images_are_a_specimen_too(run):
    folder, model = run
    specimen = load(f"run:{folder}", device="cpu")
    assert specimen.layout == TokenLayout(3, 3, (), "mean") and specimen.classes == ()
    assert specimen.facts["recipe"] == "image_text_made_up" and "embedding" in specimen.facts["output"]
    images = torch.rand(2, 3, 24, 24, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(specimen.predict(images), model.image(2 * images - 1))


def test_models_that_cannot_read(tmp_path):
    with pytest.raises(
        ValueError, match=r"bundled:vit_cifar10 must read texts.*bundled: models know classes"
    ):
        load_image_text("bundled:vit_cifar10")
    (tmp_path / "config.json").write_text('{"format": 1, "architecture": "vit"}')
    with pytest.raises(ValueError, match=r"has no text side \(it is of the architecture 'vit'\)"):
        load_image_text(f"run:{tmp_path}")
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        load_image_text(f"run:{tmp_path / 'none'}")
    with pytest.raises(
        UnknownNameError, match=r"No model library is called .opn_clip.; did you mean .open_clip."
    ):
        load_image_text("opn_clip:ViT-B-32")
    with pytest.raises(ValueError, match="takes no options"):
        load_image_text(f"run:{tmp_path}?seed=1")


def test_another_format(run):
    folder, _ = run
    described = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**described, "format": 2}))
    with pytest.raises(ValueError, match="must have format 1, but has 2"):
        load_image_text(f"run:{folder}")


def make_tokenizer(folder, words):
    """A tokenizer of whole words, as any model of Hugging Face may have."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    known = {"<pad>": 0, "<bos>": 1, "<eos>": 2, "<unk>": 3} | {word: 4 + at for at, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordLevel(known, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    ends = [("<bos>", 1), ("<eos>", 2)]
    tokenizer.post_processor = processors.TemplateProcessing(single="<bos> $A <eos>", special_tokens=ends)
    named = {"pad_token": "<pad>", "bos_token": "<bos>", "eos_token": "<eos>", "unk_token": "<unk>"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **named).save_pretrained(folder)


@pytest.fixture
def make_pair(tmp_path):
    """Saves a small CLIP or SigLIP with random weights, a tokenizer and an image processor."""
    import transformers

    vision = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    text = vision | {"vocab_size": 20, "max_position_embeddings": 9}
    text |= {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    processor = {"image_processor_type": "ViTImageProcessor", "do_normalize": True}
    processor |= {
        "size": {"height": 24, "width": 24},
        "image_mean": [0.4, 0.5, 0.6],
        "image_std": [0.2, 0.3, 0.4],
    }

    def make(family, with_words=True):
        folder = tmp_path / family
        config = getattr(transformers, f"{family}Config")
        torch.manual_seed(0)
        sizes = vision | {"image_size": 24, "patch_size": 8}
        model = getattr(transformers, f"{family}Model")(config(vision_config=sizes, text_config=text))
        model.eval().save_pretrained(folder)
        (folder / "preprocessor_config.json").write_text(json.dumps(processor))
        if with_words:
            make_tokenizer(folder, WORDS)
        return folder, model

    return make


def test_a_scale_is_that_of_a_softmax():
    network = torch.nn.Module()
    assert softmax_scale(network) is None
    network.logit_scale = torch.nn.Parameter(torch.tensor(2.0))
    assert softmax_scale(network) == pytest.approx(float(np.exp(2)))
    network.logit_bias = None  # as open_clip has it without a sigmoid
    assert softmax_scale(network) == pytest.approx(float(np.exp(2)))
    network.logit_bias = torch.nn.Parameter(torch.tensor(-10.0))
    assert softmax_scale(network) is None


@pytest.mark.slow  # importing transformers takes many seconds
@pytest.mark.parametrize("family", ["CLIP", "Siglip"])
def test_hugging_face(make_pair, family):
    folder, model = make_pair(family)
    found = archaeology.load_image_text(f"hf:{folder}", device="cpu")
    assert isinstance(found, ImageTextModel) and found.image_size == (24, 24) and found.wordings == ()
    learnt = {"CLIP": pytest.approx(float(model.logit_scale.detach().exp())), "Siglip": None}
    assert found.scale == learnt[family]  # SigLIP has a scale, but for a sigmoid
    images = torch.rand(3, 3, 24, 24, generator=torch.Generator().manual_seed(0))
    ids = torch.tensor([[1, 4, 8, 6, 2] + [0] * 4, [1, 5, 2] + [0] * 6])  # a red circle; blue
    mask = (ids > 0).long()
    with torch.no_grad():
        pictures = model.get_image_features(pixel_values=found.specimen.prepare(images)).pooler_output
        words = model.get_text_features(ids, mask if family == "CLIP" else None).pooler_output
    unit = torch.nn.functional.normalize
    torch.testing.assert_close(found.encode_images(images), unit(pictures, dim=-1))
    torch.testing.assert_close(found.encode_texts(["a red circle", "Blue"]), unit(words, dim=-1))
    long = found.encode_texts(["a red circle " * 9])  # cut, as the model's library does
    assert long.shape == (1, words.shape[1])
    labels = torch.arange(60) % 3
    many = torch.rand(60, 3, 24, 24, generator=torch.Generator().manual_seed(1))
    named = zero_shot(found, many, labels, ("red", "blue", "circle"))
    assert named.luck_p_value > 0.01  # random weights know nothing


@pytest.mark.slow
def test_hugging_face_without_a_text_side(make_pair, tmp_path):
    import transformers

    folder, _ = make_pair("CLIP", with_words=False)
    with pytest.raises(ValueError, match="must have a tokenizer beside its weights"):
        load_image_text(f"hf:{folder}", device="cpu")
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    transformers.ViTModel(transformers.ViTConfig(**sizes)).save_pretrained(tmp_path / "vit")
    with pytest.raises(ValueError, match=r"has no text side \(ViTConfig describes one encoder\)"):
        load_image_text(f"hf:{tmp_path / 'vit'}", device="cpu")
    with pytest.raises(FileNotFoundError, match=r"folder with config.json"):
        (tmp_path / "empty").mkdir()
        load_image_text(f"hf:{tmp_path / 'empty'}", device="cpu")


@pytest.mark.slow  # as importing open_clip does
def test_open_clip():
    import open_clip

    spec = "open_clip:ViT-S-32-alt?pretrained=false&img_size=64"
    found = load_image_text(spec, device="cpu")
    assert isinstance(found, ImageTextModel) and found.image_size == (64, 64)
    assert found.scale == pytest.approx(1 / 0.07, rel=1e-4)
    tokens = open_clip.get_tokenizer("ViT-S-32-alt")(["a photo of a cat", "a dog"])
    with torch.no_grad():
        direct = found.whole.encode_text(tokens, normalize=True)
        torch.testing.assert_close(found.encode_texts(["a photo of a cat", "a dog"]), direct)
        images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
        pictures = found.whole.encode_image(found.specimen.prepare(images), normalize=True)
    torch.testing.assert_close(found.encode_images(images), pictures)
    assert torch.equal(load(spec, device="cpu").predict(images), found.specimen.predict(images))


def test_missing_library(monkeypatch):
    monkeypatch.setitem(sys.modules, "open_clip", None)
    with pytest.raises(MissingExtraError, match=r"needs the package 'open_clip'"):
        load_image_text("open_clip:ViT-S-32-alt?pretrained=false")
