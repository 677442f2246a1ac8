"""What the app answers about an image: numbers are those of the library."""

import asyncio
import gzip
import json
import math
import sys
import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from starlette.requests import Request
from starlette.testclient import TestClient

from archaeology.ablate import without_heads
from archaeology.ablate.means import mean_head_outputs
from archaeology.app.answering import container
from archaeology.app.attacks import Wish
from archaeology.app.models import Models
from archaeology.app.server import create_app
from archaeology.attacks import attack_images
from archaeology.capture import capture
from archaeology.explorer.explore import explore
from archaeology.explorer.pack import unpack

EXPLORE = sys.modules["archaeology.explorer.explore"]  # the package has a function of this name


@pytest.fixture(scope="module")
def vit(app):
    return app.state.service.models.specimens["vit"]


def picture_of(client, image):
    return client.app.state.service.images._kept[image].thing


def tensor_of(client, image):
    return torch.from_numpy(picture_of(client, image).pixels.transpose(2, 0, 1).copy())[None]


def events_of(client, attack):
    found = []
    with client.stream("GET", f"/api/attacks/{attack}/events") as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        for block in "".join(stream.iter_text()).split("\n\n"):
            if block.startswith("event: "):
                name, data = block.split("\n")
                found.append((name[7:], json.loads(data[6:])))
    return found


def test_setup_says_what_there_is(client):
    setup = client.get("/api/setup").json()
    assert [model["key"] for model in setup["models"]] == ["vit", "cnn"]
    assert (
        setup["models"][0].items()
        >= {"kind": "vit", "num_classes": 10, "image_size": [32, 32], "has_attention": True}.items()
    )
    known = {one["name"]: one for one in setup["attacks"]}
    pgd = {"name": "pgd", "title": "PGD", "norms": ["linf", "l2"], "bounded": True, "repeats": "steps"}
    assert (
        known["pgd"] == pgd and known["square"]["repeats"] == "queries" and known["fgsm"]["repeats"] is None
    )
    assert {"name": "rollout", "title": "Rollout"} in setup["methods"]["vit"]
    assert "rollout" not in [one["name"] for one in setup["methods"]["cnn"]]
    assert setup["limits"]["pixels"] == 50_000_000 and setup["runs"] is None
    assert setup["replacements"] == ["zero"]


def test_a_subject_holds_what_the_library_sees(client, vit, image):
    found = client.get(f"/api/images/{image}/subject?vit=vit&cnn=cnn&methods=rollout,grad_cam")
    subject = unpack(found.content)
    record = capture(vit, tensor_of(client, image))
    first, second = subject["models"]
    layers = first["attention"]["layers"]
    np.testing.assert_allclose(layers[3]["pattern"], record.attentions[3].pattern[0].numpy(), atol=4e-3)
    assert first["answer"]["name"] == vit.classes[int(record.logits.argmax())]
    assert [one["method"] for one in first["maps"]] == ["grad_cam", "rollout"]
    assert [one["method"] for one in second["maps"]] == ["grad_cam"]
    assert (subject["image"]["pixels"] == picture_of(client, image).pixels).all()
    only = unpack(client.get(f"/api/images/{image}/subject?vit=vit&methods=").content)
    assert [model["key"] for model in only["models"]] == ["vit"] and not only["models"][0]["maps"]


@pytest.mark.parametrize(
    ("kind", "size", "crop_fraction"),
    [("PNG", (64, 32), 1.0), ("JPEG", (1200, 600), 0.875), ("JPEG", (90, 400), 1.0)],
)
def test_a_file_gets_the_answers_that_explore_gives_it(
    app, picture_file, tmp_path, monkeypatch, kind, size, crop_fraction
):
    given = app.state.service
    models = {
        key: replace(one, crop_fraction=crop_fraction if key == "vit" else 0.5)
        for key, one in given.models.specimens.items()
    }
    shown, view = [], EXPLORE._view
    monkeypatch.setattr(
        EXPLORE, "_view", lambda subjects, *more: shown.extend(subjects) or view(subjects, *more)
    )
    path = tmp_path / "photo"
    path.write_bytes(picture_file(size=size, kind=kind))
    explore(models["vit"], [path], cnn=models["cnn"])
    fresh = create_app(given.config, type(given).with_models(given.config, Models(models), None))
    with TestClient(fresh, base_url="http://127.0.0.1:8000") as client:
        sent = client.post("/api/images", files={"image": ("x", path.read_bytes())}).json()
        seen = unpack(client.get(f"/api/images/{sent['id']}/subject?vit=vit&cnn=cnn").content)
    assert sent["original"] == list(size) and (sent["width"], sent["height"]) == (32, 32)
    np.testing.assert_array_equal(seen["image"]["pixels"], shown[0].pixels)
    for one, model in zip(seen["models"], shown[0].models, strict=True):
        assert one["answer"]["name"] == model.answer.name
        wanted = {score.name: score.logit for score in model.logits}
        found = {score["name"]: score["logit"] for score in one["logits"]}
        assert found == pytest.approx(wanted, abs=1e-5)


@pytest.mark.parametrize("query", ["vit=other", "methods=magic", "vit=cnn&cnn=nothing"])
def test_a_subject_of_what_there_is_not_is_refused(client, image, query):
    assert client.get(f"/api/images/{image}/subject?{query}").status_code in (404, 422)


def test_rows_are_those_of_the_pattern(client, vit, image):
    pattern = torch.stack([one.pattern[0] for one in capture(vit, tensor_of(client, image)).attentions])
    found = unpack(client.get(f"/api/images/{image}/rows?model=vit&query=5").content)["rows"]
    np.testing.assert_allclose(found, pattern[:, :, 5].numpy(), atol=4e-3)
    mean = unpack(client.get(f"/api/images/{image}/rows?model=vit&query=-1").content)["rows"]
    np.testing.assert_allclose(mean, pattern.mean(dim=2).numpy(), atol=4e-3)
    for bad in ("64", "-2", "x", "", "1e3", "9" * 30):
        assert client.get(f"/api/images/{image}/rows?model=vit&query={bad}").status_code == 422
    assert client.get(f"/api/images/{image}/rows?model=cnn&query=0").status_code == 422
    assert client.get(f"/api/images/{image}/rows?query=0").status_code == 404


def test_heads_that_are_off_say_nothing(client, vit, image):
    off = [[0, 1], [0, 3], [4, 2]]
    found = client.post(
        f"/api/images/{image}/ablate", json={"model": "vit", "off": off, "replacement": "zero"}
    ).json()
    images = tensor_of(client, image)
    zeros = [torch.zeros_like(one) for one in mean_head_outputs(vit, images)]
    with torch.no_grad():
        wanted = without_heads(vit, [tuple(one) for one in off], zeros).predict(images)[0]
    best = int(wanted.argmax())
    assert found["after"][0]["name"] == vit.classes[best]
    assert found["after"][0]["logit"] == pytest.approx(float(wanted[best]), abs=1e-4)
    assert found["after"][0]["probability"] == pytest.approx(float(wanted.softmax(0)[best]), abs=1e-4)
    assert found["before"] != found["after"]
    none = client.post(
        f"/api/images/{image}/ablate", json={"model": "vit", "off": [], "replacement": "zero"}
    ).json()
    assert none["before"] == none["after"] == found["before"]


@pytest.mark.parametrize(
    ("wish", "status", "words"),
    [
        ({"model": "vit", "off": [[0, 9]], "replacement": "zero"}, 422, "heads must be pairs"),
        ({"model": "vit", "off": [[-1, 0]], "replacement": "zero"}, 422, "layers 0 to 5"),
        ({"model": "vit", "off": [[0, "<script>"]], "replacement": "zero"}, 422, "off.0.1"),
        ({"model": "vit", "off": [[0, 0]], "replacement": "mean"}, 422, "started without a run"),
        ({"model": "vit", "off": [[0, 0]], "replacement": "magic"}, 422, "'zero' or 'mean'"),
        ({"model": "cnn", "off": [[0, 0]], "replacement": "zero"}, 422, "has none"),
        ({"model": "other", "off": []}, 404, "no such model"),
        ({"off": []}, 422, "model: Field required"),
        ([], 422, "The request"),
    ],
)
def test_heads_that_there_are_not_are_refused(client, image, wish, status, words):
    found = client.post(f"/api/images/{image}/ablate", json=wish)
    assert found.status_code == status and words in found.json()["error"]
    assert "<script>" not in found.text


def test_patches_are_covered_for_both_models(client, app, image):
    wish = {"models": ["vit", "cnn"], "places": [0, 3], "grid": [2, 2], "fill": "grey"}
    found = client.post(f"/api/images/{image}/occlude", json=wish).json()["models"]
    images = tensor_of(client, image).float() / 255
    for key, specimen in app.state.service.models.specimens.items():
        covered = images.clone()
        grey = torch.tensor(specimen.mean)[:, None, None]
        height, width = images.shape[2:]
        rows = [row for row in range(height) if 2 * (row + 0.5) < height]
        columns = [column for column in range(width) if 2 * (column + 0.5) < width]
        covered[0, :, : len(rows), : len(columns)] = grey
        covered[0, :, len(rows) :, len(columns) :] = grey
        with torch.no_grad():
            wanted = specimen.predict(covered)[0]
        assert found[key]["after"][0]["logit"] == pytest.approx(float(wanted.max()), abs=1e-3)
    blurred = client.post(f"/api/images/{image}/occlude", json=wish | {"fill": "blur"}).json()["models"]
    assert blurred["vit"]["after"] != found["vit"]["after"]


@pytest.mark.parametrize(
    "change",
    [
        {"places": [4]},
        {"places": [-1]},
        {"grid": [0, 2]},
        {"grid": [1000, 1000]},
        {"fill": "red"},
        {"models": []},
    ],
)
def test_patches_that_there_are_not_are_refused(client, image, change):
    wish = {"models": ["vit"], "places": [0], "grid": [2, 2], "fill": "grey"} | change
    assert client.post(f"/api/images/{image}/occlude", json=wish).status_code == 422


@pytest.mark.parametrize("name", ["pgd", "fgsm", "deep_fool", "square"])
def test_an_attack_does_what_the_library_does(client, vit, image, name):
    wish = {"model": "vit", "attack": name, "epsilon": 0.02, "steps": 4, "seed": 3}
    begun = client.post(f"/api/images/{image}/attacks", json=wish)
    assert begun.status_code == 202, begun.text
    attack = begun.json()["id"]
    told = events_of(client, attack)
    assert [one for one, _ in told] == ["progress"] * (len(told) - 1) + ["done"]
    images = tensor_of(client, image).float() / 255
    with torch.no_grad():
        label = vit.predict(images).argmax(1)
    options = {"fgsm": {}, "square": {"queries": 4}}.get(name, {"steps": 4})
    epsilon = None if name == "deep_fool" else 0.02
    wanted = attack_images(name, vit, images, label, epsilon=epsilon, seed=3, **options)
    done = told[-1][1]
    assert done["success"] == bool(wanted.success[0]) and done["success_8bit"] == bool(wanted.success_8bit[0])
    assert done["distance"] == pytest.approx(float(wanted.distances[wanted.norm][0]))
    assert done["before"]["name"] == vit.classes[int(label)]
    subject = unpack(client.get(f"/api/attacks/{attack}/subject?vit=vit&methods=").content)
    model = subject["models"][0]
    assert model["answer"]["name"] == done["after"]["name"]
    assert model["maps"][-1]["method"] == "perturbation" and model["maps"][-1]["is_signed"]
    np.testing.assert_allclose(
        model["maps"][-1]["values"], (wanted.images - images)[0].mean(0).numpy(), atol=1e-6
    )
    where = {one["key"]: one for one in subject["models"]}["vit"]["attention"]["layers"]
    looks = unpack(client.get(f"/api/attacks/{attack}/rows?model=vit&query=5").content)["rows"]
    np.testing.assert_allclose(looks, np.stack([one["pattern"] for one in where])[:, :, 5], atol=4e-3)
    assert events_of(client, attack) == told  # who comes late hears everything


@pytest.mark.parametrize("epsilon", [math.inf, math.nan, 1e300])
def test_a_budget_without_end_is_no_wish(epsilon):
    with pytest.raises(ValidationError):
        Wish(model="vit", attack="pgd", epsilon=epsilon)


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"attack": "magic"}, 422),
        ({"norm": "l7"}, 422),
        ({"epsilon": None}, 422),
        ({"epsilon": -1.0}, 422),
        ({"epsilon": "NaN"}, 422),
        ({"epsilon": 1e300}, 422),
        ({"epsilon": "Infinity"}, 422),
        ({"steps": 0}, 422),
        ({"steps": 10**9}, 422),
        ({"model": "other"}, 404),
        ({"more": 1}, 422),
    ],
)
def test_attacks_that_there_are_not_are_refused(client, image, change, status):
    wish = {"model": "vit", "attack": "pgd", "epsilon": 0.02, "steps": 4, "seed": 3} | change
    found = client.post(f"/api/images/{image}/attacks", json=wish)
    assert found.status_code == status and found.json()["error"]


def test_an_attack_that_cannot_be_says_why(client, image):
    wish = {"model": "vit", "attack": "pgd", "epsilon": 8.0, "steps": 4}
    attack = client.post(f"/api/images/{image}/attacks", json=wish).json()["id"]
    ((name, data),) = events_of(client, attack)
    assert name == "failed" and "did you mean 8/255" in data["error"]
    assert client.get(f"/api/attacks/{attack}/subject").status_code == 409
    assert client.get(f"/api/attacks/{attack}/rows?model=vit&query=0").status_code == 409


def test_an_attack_can_be_stopped(client, image):
    wish = {"model": "vit", "attack": "pgd", "epsilon": 0.0, "steps": 2000}
    attack = client.post(f"/api/images/{image}/attacks", json=wish).json()["id"]
    assert client.delete(f"/api/attacks/{attack}").status_code == 204
    assert events_of(client, attack)[-1] == ("failed", {"error": "The attack was stopped."})


def test_few_attacks_of_one_visitor_run_at_once(client, image):
    wish = {"model": "vit", "attack": "pgd", "epsilon": 0.0, "steps": 2000}
    begun = [client.post(f"/api/images/{image}/attacks", json=wish) for _ in range(3)]
    assert [one.status_code for one in begun] == [202, 202, 429] and begun[2].headers["retry-after"]
    for one in begun[:2]:
        client.delete(f"/api/attacks/{one.json()['id']}")
        events_of(client, one.json()["id"])


@pytest.mark.parametrize(("reader", "is_pressed"), [("10.0.0.9", True), ("127.0.0.1", False)])
def test_far_readers_get_subjects_pressed(reader, is_pressed, monkeypatch):
    headers = [(b"accept-encoding", b"gzip, br")]
    request = Request({"type": "http", "headers": headers, "client": (reader, 50_000)})
    began, pressed_in = threading.get_ident(), []
    press = gzip.compress
    monkeypatch.setattr(
        gzip,
        "compress",
        lambda *args, **given: pressed_in.append(threading.get_ident()) or press(*args, **given),
    )
    found = asyncio.run(container(request, b"x" * 1000))
    assert len(pressed_in) == is_pressed and began not in pressed_in  # the server's thread goes on meanwhile
    assert (found.headers.get("content-encoding") == "gzip") == is_pressed
    assert (gzip.decompress(found.body) if is_pressed else found.body) == b"x" * 1000
