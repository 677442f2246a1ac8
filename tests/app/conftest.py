from io import BytesIO

import pytest
from PIL import Image
from starlette.testclient import TestClient

from archaeology.app.config import AppConfig
from archaeology.app.server import create_app

ORIGIN = "http://127.0.0.1:8000"


def file_of(size=(37, 29), kind="PNG", mode="RGB", **options):
    """A picture as a file."""
    file = BytesIO()
    Image.radial_gradient("L").resize(size).convert(mode).save(file, kind, **options)
    return file.getvalue()


@pytest.fixture(scope="session")
def picture_file():
    return file_of


@pytest.fixture(scope="session")
def app():
    return create_app(AppConfig(vit="bundled:vit_cifar10", cnn="bundled:convnet_cifar10", threads=1))


@pytest.fixture(scope="module")
def client(app):
    """A browser on the app; a module's own, because an app that has stopped does not start again."""
    service = app.state.service
    fresh = create_app(service.config, type(service).with_models(service.config, service.models, None))
    with TestClient(fresh, base_url=ORIGIN) as found:
        yield found


@pytest.fixture
def upload(client):
    def send(data, **options):
        return client.post("/api/images", files={"image": ("x", data)}, **options)

    return send


@pytest.fixture
def image(upload):
    """The id of an uploaded image."""
    found = upload(file_of())
    assert found.status_code == 201, found.text
    return found.json()["id"]
