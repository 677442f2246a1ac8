import importlib.util
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

BESIDE = Path(__file__).resolve().parents[1] / "report" / "fixture_run.py"


@pytest.fixture(scope="session")
def made_up():
    """The module that makes up run directories; test folders are not packages, so it is loaded by its path."""
    name = "archaeology_fixture_run"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, BESIDE)
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name]


@pytest.fixture(scope="session")
def made_up_survey():
    """The module that makes up surveys of robustness."""
    name = "archaeology_fixture_robustness"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, BESIDE.with_name("fixture_robustness.py"))
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name]


@pytest.fixture(scope="session")
def made_up_layers():
    """The module that makes up surveys of layers."""
    name = "archaeology_fixture_representation"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, BESIDE.with_name("fixture_representation.py"))
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name]


@pytest.fixture(scope="session")
def layered(made_up_layers):
    """What has a survey of layers, of two models."""
    return SimpleNamespace(representation=made_up_layers.made_up_layers())


@pytest.fixture(scope="session")
def attacked(made_up_survey):
    """What has a survey of robustness, of three models."""
    return SimpleNamespace(robustness=made_up_survey.made_up_document())


@pytest.fixture(scope="session")
def apart():
    """What has had its failures taken apart."""
    name = "archaeology_fixture_dissection"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, BESIDE.with_name("fixture_dissection.py"))
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return SimpleNamespace(dissection=sys.modules[name].made_up_dissection())


@pytest.fixture(scope="session")
def small_run(made_up, tmp_path_factory):
    """6 layers of 4 heads, 200 images with labels."""
    return made_up.write_run(tmp_path_factory.mktemp("runs") / "small", made_up.Plan(full_attention=False))


@pytest.fixture(scope="session")
def plain_run(made_up, tmp_path_factory):
    """An older run: no leaderboard, labels of heads, pruning or ablated layers."""
    plan = made_up.Plan(forensics=False, full_attention=False, num_images=60)
    return made_up.write_run(tmp_path_factory.mktemp("runs") / "plain", plan)


@pytest.fixture(scope="session")
def unlabelled_run(made_up, tmp_path_factory):
    """No labels and no class token."""
    plan = made_up.Plan(labelled=False, prefix=(), num_images=60, full_attention=False, seed=1)
    return made_up.write_run(tmp_path_factory.mktemp("runs") / "unlabelled", plan)


def made_up_rows():
    """Measurements of three mechanisms: dense grows with the square, performer with N, sparsemax ends early."""
    from archaeology.zoo.measurements import error_row, memory_row, time_row

    costs = {"softmax": (1e-7, 2.0, 1.0), "performer": (1e-4, 1.0, 0.01), "sparsemax": (3e-7, 2.1, 4.0)}
    for name, (seconds, power, mebibytes) in costs.items():
        for length in (256, 512, 1024, 2048, 4096):
            if (name, length) == ("sparsemax", 4096):
                continue
            for turn in range(3):
                noise = 1 + 0.01 * turn
                yield time_row(name, length, "forward", turn, seconds * length**power / 3 * noise)
                yield time_row(name, length, "forward+backward", turn, seconds * length**power * noise)
            for step, factor in (("forward", 1), ("forward+backward", 3)):
                yield memory_row(name, length, step, 0, factor * mebibytes * (length / 512))
    for kind, level in (("structured", 0.4), ("random", 2.0)):
        for score_std in (0.5, 2.0):
            for draw in range(2):
                for head in range(4):
                    wobble = 1 + 0.02 * head + 0.01 * draw
                    for name, error in (
                        ("mean of values", 0.6),
                        ("softmax", 3e-7),
                        ("performer", level * score_std),
                    ):
                        yield error_row(name, 2048, kind, score_std, draw, head, error * wobble)


@pytest.fixture(scope="session")
def zoo_run(tmp_path_factory):
    """A measured zoo whose numbers are made up."""
    from archaeology.core.storage import write_json
    from archaeology.zoo.config import ZooConfig
    from archaeology.zoo.directory import SCHEMA_VERSION, TABLE, ZooRun
    from archaeology.zoo.measurements import Measurements

    folder = tmp_path_factory.mktemp("runs") / "zoo"
    Measurements(folder / TABLE).add(made_up_rows())
    config = ZooConfig(lengths=(256, 512, 1024, 2048, 4096), out=folder)
    document = {
        "schema_version": SCHEMA_VERSION,
        "config": config.model_dump(mode="json"),
        "mechanisms": ["softmax", "performer", "sparsemax"],
    }
    write_json(folder / "run.json", document)
    return ZooRun(folder)


@pytest.fixture(scope="session")
def profile_run(tmp_path_factory):
    """Three specimens and three patch sizes, whose numbers are made up; one batch was skipped, one has no memory."""
    from archaeology.core.storage import write_json
    from archaeology.profiling.config import ProfileConfig
    from archaeology.profiling.directory import DOCUMENT, SCHEMA_VERSION, ProfileRun

    def cost(batch, milliseconds, mebibytes):
        return {
            "batch": batch,
            "milliseconds": milliseconds,
            "low": 0.9 * milliseconds,
            "high": 1.2 * milliseconds,
            "images_per_second": 1e3 * batch / milliseconds,
            "mebibytes": mebibytes,
            "rounds": 5,
        }

    def profile(name, kind, gigaflops, share, costs, patch_size=None, tokens=None):
        flops = int(gigaflops * 1e9)
        return {
            "name": name,
            "spec": f"timm:{name}",
            "kind": kind,
            "image_size": [224, 224],
            "patch_size": patch_size,
            "tokens": tokens,
            "parameters": 22_000_000,
            "weight_mebibytes": 84.0,
            "flops": flops,
            "pair_flops": int(share * flops),
            "formula_flops": flops if tokens else None,
            "costs": costs,
        }

    profiles = [
        profile(
            "vit_small", "transformer", 9.2, 0.08, [cost(1, 70.0, 3.0), cost(64, 4000.0, 190.0)], tokens=197
        ),
        profile("swin_tiny", "transformer", 9.0, 0.04, [cost(1, 110.0, 0.2), cost(64, 7000.0, None)]),
        profile("resnet50", "convolutional", 8.2, 0.0, [cost(1, 80.0, 12.0)]),
    ]
    for size, tokens, gigaflops, share, milliseconds in (
        (4, 3137, 314.0, 0.58, 4000.0),
        (8, 785, 45.0, 0.25, 500.0),
        (16, 197, 9.2, 0.08, 100.0),
    ):
        costs = [cost(1, milliseconds, tokens / 60)]
        name = f"vit_small, patch {size}"
        profiles.append(profile(name, "transformer", gigaflops, share, costs, size, tokens))
    folder = tmp_path_factory.mktemp("runs") / "profile"
    document = {
        "schema_version": SCHEMA_VERSION,
        "config": ProfileConfig(out=folder).model_dump(mode="json"),
        "device": "cpu",
        "machine": "made-up processor",
        "profiles": profiles,
    }
    write_json(folder / DOCUMENT, document)
    return ProfileRun(folder)


@pytest.fixture(scope="session")
def world_runs(tmp_path_factory):
    """A folder of small encoder-decoders, not trained, whose curves are made up: error e / (1 + n) after n epochs."""
    import torch

    from archaeology.core.storage import write_json, write_tensors, write_text
    from archaeology.models import EncoderDecoder
    from archaeology.recipes.stream import FORMAT, TASK

    arguments = {"image_size": 128, "embed_dim": 32, "encoder_depth": 1, "decoder_depth": 1, "num_heads": 2}
    folder = tmp_path_factory.mktemp("world_runs")
    for recipe, seed, scale in (
        ("encoder_decoder", 0, 1.0),
        ("encoder_decoder", 1, 0.8),
        ("place_queries", 0, 0.9),
    ):
        run = folder / f"{recipe}-{seed}"
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = EncoderDecoder(**arguments)
        described = {
            "recipe": f"shapes2d_{recipe}",
            "architecture": "encoder_decoder",
            "arguments": arguments,
        }
        write_json(
            run / "config.json", {"format": FORMAT, "task": TASK, **described, "facts": {"seed": seed}}
        )
        write_tensors(run / "model.safetensors", model.state_dict())
        lines = [f'{{"step": {10 * epoch}, "colour_error": {scale / (1 + epoch)}}}' for epoch in (1, 2, 3)]
        write_text(run / "metrics.jsonl", "\n".join([*lines, '{"step": 35, "loss": 0.1}']) + "\n")
        scores = {"colour_error": {"value": scale / 4}}
        write_json(run / "run.json", {"config": {"batch_size": 7}, "scores": scores})
    return folder


@pytest.fixture(scope="session")
def reverser_run(tmp_path_factory):
    """A folder with a model that says sequences backwards, not trained."""
    import torch

    from archaeology.core.storage import write_json, write_tensors
    from archaeology.models.reverser import SequenceReverser
    from archaeology.recipes.stream import FORMAT, TASK

    folder = tmp_path_factory.mktemp("reverser_run")
    arguments = {"num_tokens": 10, "embed_dim": 64, "num_heads": 4}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = SequenceReverser(**arguments)
    described = {"recipe": "reverse_sequence", "architecture": "sequence_reverser", "arguments": arguments}
    write_json(folder / "config.json", {"format": FORMAT, "task": TASK, **described, "facts": {"seed": 0}})
    write_tensors(folder / "model.safetensors", model.state_dict())
    return folder


@pytest.fixture(scope="session")
def comparison(tmp_path_factory):
    """Two recipes of three seeds and a lone run, with made-up attention of 2 layers of 3 heads before and after."""
    from dataclasses import replace

    import numpy as np

    from archaeology.core.intervals import Interval, mcnemar
    from archaeology.diagnose import compare
    from archaeology.diagnose.comparison_answers import AnswerDifference
    from archaeology.diagnose.comparison_attention import (
        QUANTITIES,
        AttentionChange,
        LayerChange,
        over_images,
    )

    beside = Path(__file__).resolve().parents[1] / "diagnose" / "compared.py"
    spec = importlib.util.spec_from_file_location("archaeology_compared_runs", beside)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    folder = tmp_path_factory.mktemp("compared")
    paths = [
        *module.write_recipe(folder, "vit_fine_tuned", (0.78, 0.8, 0.81), pace=200.0),
        *module.write_recipe(folder, "vit_from_scratch", (0.6, 0.63, 0.61), start=0.2, pace=190.0),
        *module.write_recipe(folder, "convnet", (0.75,), start=0.3, pace=40.0),
    ]
    found = compare(paths, run_models=False)
    names = [group.name for group in found.groups]
    right = np.arange(100) % 5 > 0
    answers = AnswerDifference(
        names[0], names[1], (0,), Interval(0.2, 0.1, 0.3, 100, "bootstrap"), (mcnemar(right, ~right),)
    )
    values = np.random.default_rng(0).random((6, 3, len(QUANTITIES)))
    layers = tuple(
        LayerChange(
            f"blocks.{number}",
            {name: over_images(scale * values[:, :, place]) for place, name in enumerate(QUANTITIES)},
            scale * values,
        )
        for number, scale in enumerate((0.2, 0.6))
    )
    overall, usual = (over_images(values[:, 0, place]) for place in (0, 1))
    change = AttentionChange(
        names[0], "bundled:vit", (0, 1, 2), 6, "the same 8 x 8 patches", layers, overall, usual
    )
    return replace(found, answers=(answers,), attention=(change,))


@pytest.fixture(scope="session")
def explained():
    """An image of 12 x 8 pixels as two made-up models answer it: maps of patches and of pixels, one of them empty."""
    import numpy as np

    from archaeology.figures._explained_image import ExplainedImage, MethodMap

    photo = (np.arange(3 * 12 * 8).reshape(3, 12, 8) * 7 % 256).astype(np.uint8)
    pixels = np.sin(np.arange(384.0)).round(3).reshape(24, 16)
    pixels[2, 3] = 9.0  # the colours end before it

    def marks(deletion, insertion):
        return {"deletion": deletion, "insertion": insertion}

    maps = (
        MethodMap("rollout", np.arange(6.0).reshape(3, 2) / 50, looks_at_class=False, marks=marks(0.7, 0.75)),
        MethodMap("integrated_gradients", pixels, is_signed=True, marks=marks(0.9, 0.5)),
        MethodMap("grad_cam", np.zeros((3, 2)), has_evidence=False, marks=marks(0.95, 0.95)),
        MethodMap("made_up_here", np.eye(3) / 1e4, marks=marks(0.61, float("nan"))),
        MethodMap("random", np.full((3, 2), 0.5), looks_at_class=False, marks=marks(0.99, 0.99)),
    )
    floor = {"deletion": (0.4, 0.6), "insertion": (0.5, 0.7, float("nan"))}
    answers = (("cat", 0.61), ("dog", 0.2), ("axolotl of a very long name indeed", 0.1))
    return (
        ExplainedImage("made-up vit", photo, answers, "cat", 0.61, maps, floor),
        ExplainedImage("made-up cnn", photo, answers[1:], "cat", 0.02, maps[1:3], {}),
    )


@pytest.fixture
def learned():
    """What figures of ways to learn are made from: a comparison, and images named by words with three wordings."""
    import numpy as np
    from tests.dig.made_up_learning import comparison

    from archaeology.represent.zero_shot import ZeroShot

    labels = np.arange(60) % 4
    generator = np.random.default_rng(0)
    predicted = np.stack([np.where(generator.random(60) < share, labels, 0) for share in (0.9, 0.6, 0.2)])
    named = ZeroShot(
        model="made up",
        classes=("cat", "dog", "emu", "fox"),
        templates=("a photo of a {}", "{}", "this is the sentence of a {} that goes on and on and on"),
        labels=labels,
        predicted=predicted,
        ensemble=predicted[0],
        sureness=np.full(60, 0.5),
    )
    return {"ways_of_learning": comparison(), "zero_shot_wording": named}


@pytest.fixture
def source_of(
    small_run,
    attacked,
    layered,
    apart,
    zoo_run,
    world_runs,
    profile_run,
    reverser_run,
    comparison,
    explained,
    learned,
):
    """What each figure is made from."""
    from archaeology.dig.directory import RunDirectory
    from archaeology.figures import explanation_figures, profile_figures, training_figures, world_figures
    from archaeology.figures._world_source import WorldSource, found_runs
    from archaeology.report.dissection import DISSECTION_FIGURES
    from archaeology.report.representation import REPRESENTATION_FIGURES
    from archaeology.report.robustness import ROBUSTNESS_FIGURES

    zoo = {"zoo_cost": zoo_run, "zoo_error": zoo_run, "zoo_patterns": ("softmax", "performer")}

    def find(name):
        if name == "head_pattern":
            return WorldSource(found_runs(reverser_run))
        if name in world_figures:
            return WorldSource(found_runs(world_runs), count=11)
        if name in learned:
            return learned[name]
        if name in profile_figures:
            return profile_run
        if name in training_figures:
            return comparison
        if name in explanation_figures:
            return explained
        if name in ROBUSTNESS_FIGURES:
            return attacked
        if name in REPRESENTATION_FIGURES:
            return layered
        if name in DISSECTION_FIGURES:
            return apart
        return zoo[name] if name in zoo else RunDirectory(small_run)

    return find
