"""An attack from its wish to its end: who follows it, who stops it, whose seconds it takes."""

import asyncio
import threading
from types import SimpleNamespace

import numpy as np
import pytest
from starlette.requests import Request

from archaeology.app.attack_routes import stream
from archaeology.app.attacks import Attack, StoppedError, Wish, run_attack
from archaeology.app.decoding import Picture
from archaeology.app.sessions import Shelf


def attack_for(loop, seconds=60.0):
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    wish = Wish(model="vit", attack="pgd", epsilon=0.0, steps=5)
    return Attack(wish, Picture(pixels, (32, 32), "x"), seconds, loop)


@pytest.fixture
def loop():
    found = asyncio.new_event_loop()
    yield found
    found.close()


def reader(name):
    """A request of somebody who stays."""

    async def receive():
        await asyncio.Event().wait()

    return Request({"type": "http", "state": {"visitor": "a"}, "path_params": {"name": name}}, receive)


def service_with(attack):
    attacks = Shelf(9, 1000, 60.0)
    name = attacks.put("a", attack, 1)
    return SimpleNamespace(leaving=asyncio.Event(), attacks=attacks), name


def test_an_event_that_comes_while_others_are_read_is_not_missed():
    async def story():
        attack = attack_for(asyncio.get_running_loop())
        service, name = service_with(attack)
        told = stream(reader(name), service, attack)
        await anext(told)
        attack.tell("done", {}, is_last=True)  # is added as soon as the stream waits
        async with asyncio.timeout(5):
            return await anext(told)

    assert asyncio.run(story()) == b"event: done\ndata: {}\n\n"


def test_who_never_begins_to_read_is_no_watcher():
    async def story():
        attack = attack_for(asyncio.get_running_loop())
        service, name = service_with(attack)
        never = stream(reader(name), service, attack)
        await never.aclose()
        assert attack.watchers == 0
        told = stream(reader(name), service, attack)
        await anext(told)
        assert attack.watchers == 1 and not attack.stop.is_set()
        await told.aclose()
        return attack.watchers, attack.stop.is_set()

    assert asyncio.run(story()) == (0, True)


def test_seconds_that_others_take_are_not_the_attack_s(app, loop, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("archaeology.app.attacks.time", SimpleNamespace(monotonic=lambda: now[0]))
    vit = app.state.service.models.specimens["vit"]

    attack = attack_for(loop)
    attack.watchers = 1
    told = []
    attack.tell = lambda name, data, is_last=False: told.append((name, data))

    def breathe():
        now[0] += 100.0

    run_attack(attack, vit, breathe)
    name, data = told[-1]
    assert name == "done" and data["seconds"] == 0.0


def test_seconds_of_its_own_end_an_attack(loop, monkeypatch):
    attack = attack_for(loop, 10.0)
    attack.watchers, attack.lent = 1, 5.0
    monkeypatch.setattr("archaeology.app.attacks.time", SimpleNamespace(monotonic=lambda: 16.0))
    attack.check(2.0)
    with pytest.raises(StoppedError, match="after 10 seconds"):
        attack.check(0.0)


def test_attacks_that_are_stopped_while_they_wait_leave_the_line(client, image):
    worker = client.app.state.service.worker
    begun, go = threading.Event(), threading.Event()

    def hold(items):
        begun.set()
        go.wait(60)
        return items

    async def holding():
        return worker.begin(hold, 1)

    client.portal.call(holding)
    assert begun.wait(60)
    wish = {"model": "vit", "attack": "pgd", "epsilon": 0.0, "steps": 2000}
    try:
        for _ in range(20):  # more than may wait
            found = client.post(f"/api/images/{image}/attacks", json=wish)
            assert found.status_code == 202, found.text
            name = found.json()["id"]
            assert client.delete(f"/api/attacks/{name}").status_code == 204
            assert "The attack was stopped." in client.get(f"/api/attacks/{name}/events").text
        assert not worker._long
    finally:
        go.set()
