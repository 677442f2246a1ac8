"""Images that the models learned from and are asked about again are told, and where they come from."""

import numpy as np
import pytest
from PIL import Image

import archaeology as arc
from archaeology.data.worlds.cue_conflict import CueConflict
from archaeology.dig.config import DigConfig
from archaeology.dig.estimate import estimate
from archaeology.report.causes import causes
from archaeology.report.content import report_of
from archaeology.report.markdown import markdown

QUICK = {
    "images": 60,
    "batch_size": 30,
    "layer_images": 2,
    "pair_images": 2,
    "ablation_images": 4,
    "threads": 1,
}
QUICK |= dict.fromkeys(
    ("judge_images", "pruning_images", "robustness_images", "represent_images", "dissect_images"), 0
)
COPIES = 6


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Training and test images, six of the test also in the training."""
    folder = tmp_path_factory.mktemp("photos")
    world = CueConflict("random", seed=3, num_images=140, size=64)
    for row in range(140):
        sample = world.get(row)
        part = "test" if row < 60 else "train"
        place = folder / part / world.classes[sample.label]
        place.mkdir(parents=True, exist_ok=True)
        picture = Image.fromarray(np.moveaxis(np.asarray(sample.image), 0, -1))
        picture.save(place / f"{row:03d}.png")
        if row < COPIES:
            again = folder / "train" / world.classes[sample.label]
            again.mkdir(parents=True, exist_ok=True)
            picture.save(again / f"copy-{row:03d}.png")
    return folder


def test_copies_in_the_training_set_are_named_with_where_they_are(tiny, photos, tmp_path):
    data = f"folder:{photos}"
    run = arc.dig(**tiny, data=data, split="test", training_data=data, out=tmp_path / "run", **QUICK)
    copies = run.causes["duplicates"]
    assert not copies["within"] and all(copies["is_exact"]) and len(copies["pairs"]) == COPIES
    assert sorted(name.split("-")[-1] for name in copies["originals"]) == [
        f"00{row}.png" for row in range(COPIES)
    ]
    assert run.causes["training"] == {"name": data, "split": "train", "n": 86}
    (named,) = [one for one in run.causes["causes"] if one["kind"] == "duplicates"]
    assert named["title"] == "6 of 60 images are in the training set, too"
    text = " ".join(markdown(report_of(run)).replace("\N{NO-BREAK SPACE}", " ").split())
    assert named["title"] in text and "86 images that the models learned from" in text


def test_a_part_that_is_not_there_is_refused_before_anything_is_done(tiny, photos, tmp_path):
    data = f"folder:{photos}"
    with pytest.raises(ValueError, match="learn"):
        arc.dig(
            **tiny,
            data=data,
            split="test",
            training_data=data,
            training_split="learn",
            out=tmp_path / "run",
            **QUICK,
        )
    assert not (tmp_path / "run" / "parts").exists()


def test_a_folder_without_parts_is_taken_whole(tiny, photos, tmp_path):
    run = arc.dig(
        **tiny, data=f"folder:{photos}", split="test", training_data=f"folder:{photos / 'train'}",
        out=tmp_path / "run", **QUICK,
    )  # fmt: skip
    assert run.causes["training"]["n"] == 86 and len(run.causes["duplicates"]["pairs"]) == COPIES
    (told,) = (note for note in causes(run).notes if note.startswith("Copies were looked for"))
    assert told == "Copies were looked for among the 86 images that the models learned from (train)."


def test_an_estimate_counts_them_and_refuses_what_is_not_there(tiny, photos):
    asked = {**tiny, "data": f"folder:{photos}", "split": "test", **QUICK}
    without = estimate(DigConfig(**asked))
    found = estimate(DigConfig(**asked, training_data=f"folder:{photos}"))
    assert found.memory == without.memory + 86 * 3 * 64 * 64
    with pytest.raises(ValueError, match="learn"):
        estimate(DigConfig(**asked, training_data=f"folder:{photos}", training_split="learn"))


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"training_split": "train"}, "training_split goes with training_data.*'train'"),
        ({"training_data": "cifar10", "causes_images": 0}, "causes_images is 0"),
    ],
)
def test_nothing_about_training_data_is_asked_in_vain(more, said):
    with pytest.raises(ValueError, match=said):
        DigConfig(**more)
