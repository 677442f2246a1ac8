"""Images of a dig: listed, shown as the run has them, and open to the same experiments as uploaded ones."""

import sys
from io import BytesIO

import pytest
import torch
from PIL import Image
from starlette.testclient import TestClient

from archaeology.ablate import without_heads
from archaeology.ablate.means import mean_head_outputs
from archaeology.app.ablation import shown_numbers
from archaeology.app.config import AppConfig
from archaeology.app.models import wanted_specs
from archaeology.app.run import Run
from archaeology.app.server import create_app
from archaeology.dig.config import DigConfig
from archaeology.dig.directory import RunDirectory
from archaeology.dig.run import dig_config
from archaeology.explorer.pack import unpack
from archaeology.specimens.load import load

MODELS = {"vit": "bundled:vit_cue_conflict", "cnn": "bundled:convnet_cue_conflict"}
QUICK = {"judge_images": 0, "pruning_images": 0, "robustness_images": 0, "ablation_images": 4}


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "small"
    return dig_config(DigConfig(**MODELS, data="cue_conflict", images=6, layer_images=2, out=out, **QUICK))


@pytest.fixture(scope="module")
def client(directory, app):
    service = app.state.service
    config = AppConfig(run=directory.path, threads=1)
    models = type(service.models)({key: load(spec) for key, spec in wanted_specs(config, directory).items()})
    made = type(service).with_models(config, models, Run(directory))
    with TestClient(create_app(config, made), base_url="http://127.0.0.1:8000") as found:
        yield found


def test_models_are_those_of_the_run_unless_others_are_named(directory):
    assert wanted_specs(AppConfig(run=directory.path), directory) == MODELS
    assert wanted_specs(AppConfig(run=directory.path, vit="none"), directory) == {"cnn": MODELS["cnn"]}
    assert wanted_specs(AppConfig(run=directory.path, cnn="x:y"), directory)["cnn"] == "x:y"
    assert wanted_specs(AppConfig(vit="x:y"), None) == {"vit": "x:y"}
    assert wanted_specs(AppConfig(), None) == MODELS


def test_the_run_is_listed_and_shown(client, directory):
    assert client.get("/api/setup").json()["runs"] == {"name": "small", "subjects": 6}
    listed = client.get("/api/run/subjects").json()
    assert len(listed) == 6 and listed[0].keys() == {"id", "title", "label", "note", "group"}
    for entry in listed:
        found = client.get(f"/api/run/subjects/{entry['id']}")
        subject = unpack(found.content)
        assert subject["id"] == entry["id"] and [one["key"] for one in subject["models"]] == ["vit", "cnn"]
        assert client.get(f"/api/run/subjects/{entry['id']}").content == found.content
        small = client.get(f"/api/run/subjects/{entry['id']}/thumbnail.png")
        assert small.headers["content-type"] == "image/png"
        assert "no-cache" in small.headers["cache-control"]  # another run has other images at these addresses
        again = {"if-none-match": small.headers["etag"]}
        assert client.get(small.url, headers=again).status_code == 304
        assert client.get(small.url, headers={"if-none-match": '"other"'}).content == small.content
        assert max(Image.open(BytesIO(small.content)).size) <= 96
    for path in ("x", "x/thumbnail.png", "-1", "../run.json"):
        assert client.get(f"/api/run/subjects/{path}").status_code == 404


def test_experiments_work_on_images_of_the_run(client, directory):
    name = client.get("/api/run/subjects").json()[0]["id"]
    image = client.post("/api/images", files={"run": (None, name)})
    assert image.status_code == 201
    found = client.get(f"/api/images/{image.json()['id']}/subject?vit=vit&methods=")
    subject = unpack(found.content)
    stored = unpack(client.get(f"/api/run/subjects/{name}").content)
    assert (subject["image"]["pixels"] == stored["image"]["pixels"]).all()
    assert subject["label"] == stored["label"]
    assert subject["models"][0]["answer"]["name"] == stored["models"][0]["answer"]["name"]
    assert client.post("/api/images", files={"run": (None, "nothing")}).status_code == 404


def test_heads_say_what_they_say_on_average_over_the_run(client, directory):
    name = client.get("/api/run/subjects").json()[0]["id"]
    image = client.post("/api/images", files={"run": (None, name)}).json()["id"]
    wish = {"model": "vit", "off": [[1, 0], [2, 1]], "replacement": "mean"}
    found = client.post(f"/api/images/{image}/ablate", json=wish).json()
    vit = load(MODELS["vit"])
    kept = torch.from_numpy(directory.specimens["pixels"][:])
    place = [str(row) for row in directory.specimens["image_index"][:]].index(name)
    with torch.no_grad():
        means = mean_head_outputs(vit, kept)
        wanted = without_heads(vit, [(1, 0), (2, 1)], means).predict(kept[place][None])[0]
    assert found["after"][0]["logit"] == pytest.approx(float(wanted.max()), abs=1e-3)


def test_layers_are_numbered_as_the_explorer_shows_them():
    vit = load(MODELS["vit"])
    images = torch.zeros(1, 3, *vit.image_size)
    assert shown_numbers("vit", vit, images) == list(range(len(shown_numbers("vit", vit, images))))


def test_what_the_run_is_opened_with_needs_no_more(directory):
    run = Run(RunDirectory(directory.path))
    assert run.picture(run.entries[0]["id"]).pixels.flags.c_contiguous
    assert sys.getsizeof(run.packed(run.entries[0]["id"])) > 1000
