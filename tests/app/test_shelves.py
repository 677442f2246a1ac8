"""What belongs to whom: signed cookies, bounded shelves, oldest out."""

import time

from starlette.testclient import TestClient

from archaeology.app.config import AppConfig, Limits
from archaeology.app.server import create_app
from archaeology.app.sessions import Shelf, Visitors


def test_a_cookie_is_known_only_if_it_is_ours():
    visitors = Visitors()
    cookie = visitors.new()
    assert visitors.known(cookie)
    name, _, signature = cookie.partition(".")
    for other in (
        None,
        "",
        name,
        f"{name}.",
        f"x{cookie}",
        f"{name}.{signature[:-1]}",
        "é.é",
        Visitors().new(),
    ):
        assert visitors.known(other) is None


def test_a_thing_is_there_for_its_owner_alone():
    shelf = Shelf(3, 100, 60.0)
    name = shelf.put("a", "thing", 1)
    assert shelf.get("a", name) == "thing"
    assert shelf.get("b", name) is None and shelf.get(None, name) is None and shelf.get("a", "x") is None


def test_the_oldest_of_an_owner_goes_first_and_what_is_used_is_young():
    dropped = []
    shelf = Shelf(2, 100, 60.0, dropped.append)
    first, second = shelf.put("a", "1", 1), shelf.put("a", "2", 1)
    other = shelf.put("b", "3", 1)
    shelf.get("a", first)
    shelf.put("a", "4", 1)
    assert dropped == ["2"] and shelf.get("a", second) is None
    assert shelf.get("b", other) == "3" and shelf.size == 3
    assert sorted(shelf.of("a")) == ["1", "4"]


def test_memory_is_bounded_over_all_owners():
    shelf = Shelf(100, 10, 60.0)
    names = [(owner, shelf.put(owner, owner, 4)) for owner in "abcd"]
    assert [shelf.get(*name) for name in names] == [None, None, "c", "d"] and shelf.size == 8
    shelf.put("e", "large", 50)
    assert len(shelf) == 1  # one thing is always kept, so that an upload is not lost at once


def test_what_nobody_asks_for_is_forgotten():
    now = [0.0]
    shelf = Shelf(9, 100, 60.0, clock=lambda: now[0])
    old = shelf.put("a", "old", 1)
    now[0] = 50.0
    young = shelf.put("a", "young", 1)
    now[0] = 100.0
    shelf.forget_idle()
    assert shelf.get("a", old) is None and shelf.get("a", young) == "young"
    now[0] = 161.0
    assert shelf.get("a", young) is None and shelf.size == 0  # also where nobody looked for what is idle
    shelf.put("a", "other", 1)
    shelf.clear()
    assert len(shelf) == 0 and shelf.size == 0


def test_a_running_app_forgets_what_is_idle_by_itself(app):
    service = app.state.service
    config = AppConfig(limits=Limits(idle=0.2))
    made = type(service).with_models(config, service.models, None)
    with TestClient(create_app(config, made)):
        made.images.put("a", "picture", 1)
        deadline = time.monotonic() + 20
        while len(made.images) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert len(made.images) == 0
