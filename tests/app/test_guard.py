"""Who may ask what: hosts, origins, tokens, other people's things, paths, headers."""

from urllib.parse import urljoin

import pytest
from starlette.testclient import TestClient

from archaeology.app.config import AppConfig
from archaeology.app.server import create_app

BASE = "http://127.0.0.1:8000"


@pytest.fixture(scope="module")
def browser(app):
    """A new browser on an app with some configuration; not started, because nothing here runs a model."""
    service = app.state.service

    def on(base_url=BASE, **config):
        wanted = AppConfig(**config).with_token()
        fresh = create_app(wanted, type(service).with_models(wanted, service.models, None))
        return TestClient(fresh, base_url=base_url, follow_redirects=False)

    return on


def test_every_answer_binds_the_browser(browser):
    one = browser()
    for found in (one.get("/api/setup"), one.get("/nothing"), one.get("/", headers={"host": "evil.example"})):
        policy = found.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'; ")
        assert "frame-ancestors 'none'" in policy and "unsafe" not in policy
        assert found.headers["x-content-type-options"] == "nosniff"
        assert found.headers["referrer-policy"] == "no-referrer"
        assert found.headers["cross-origin-resource-policy"] == "same-origin"
        assert found.headers["x-frame-options"] == "DENY"
        assert "server" not in found.headers


def test_a_hub_may_show_the_app_in_a_frame_if_it_is_named(browser):
    found = browser(frame_ancestors=("https://hub.example.org",)).get("/api/setup")
    assert "frame-ancestors https://hub.example.org" in found.headers["content-security-policy"]
    assert "x-frame-options" not in found.headers


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "evil.example:8000", "localhost.evil", "", "[::2]"]
)
def test_a_foreign_name_is_refused(browser, host):
    found = browser().get("/api/setup", headers={"host": host})
    assert found.status_code == 421 and "--allow-host" in found.json()["error"]


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost", "LOCALHOST:9", "[::1]:8000"])
def test_own_names_are_answered(browser, host):
    assert browser().get("/api/health", headers={"host": host}).status_code == 200


def test_a_proxy_may_call_the_app_by_the_names_that_are_allowed(browser):
    one = browser(allow_host=("hub.example.org",))
    headers = {"host": "hub.example.org", "origin": "https://hub.example.org"}
    assert one.get("/api/setup", headers=headers).status_code == 200
    assert one.post("/api/images", headers=headers).status_code == 415
    assert one.get("/api/setup", headers={"host": "evil.example"}).status_code == 421


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:8001"},
        {"origin": "http://127.0.0.1:8000.evil.example"},
        {"origin": "file://127.0.0.1:8000"},
        {"origin": "http://[broken"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"origin": BASE, "sec-fetch-site": "cross-site"},
    ],
)
def test_pages_of_others_may_not_ask(browser, headers):
    one = browser()
    assert one.post("/api/images", headers=headers).status_code == 403
    assert one.delete("/api/attacks/x", headers=headers).status_code == 403
    if "sec-fetch-site" in headers:
        assert one.get("/api/setup", headers=headers).status_code == 403


def test_the_own_page_and_programs_may_ask(browser):
    one = browser()
    for headers in (
        {},
        {"origin": BASE},
        {"origin": BASE, "sec-fetch-site": "same-origin"},
        {"sec-fetch-site": "none"},
    ):
        assert one.post("/api/images", headers=headers).status_code == 415


def test_a_link_from_elsewhere_may_open_the_page(browser):
    found = browser().get("/", headers={"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"})
    assert found.status_code == 200 and found.headers["content-type"] == "text/html; charset=utf-8"


def test_a_token_is_asked_for_and_becomes_a_cookie(browser):
    one = browser(token="right-token")
    for path in ("/", "/api/setup", "/static/app.js", "/api/images/x/subject"):
        assert one.get(path).status_code == 401
    for wrong in ("wrong", "", "right-toke", "right-token2", "é"):
        found = one.get("/", params={"token": wrong})
        assert found.status_code == 401 and "right-token" not in found.text
        assert one.get("/api/setup", headers={"authorization": f"Bearer {wrong}".encode()}).status_code == 401
    assert one.get("/api/health").status_code == 200
    found = one.get("/", params={"x": "1", "token": "right-token"})
    assert found.status_code == 303 and found.headers["location"] == "./?x=1"
    cookie = found.headers["set-cookie"]
    assert all(word in cookie for word in ("HttpOnly", "SameSite=Strict", "Path=/"))
    assert one.get("/api/setup").json()["token_needed"] is True
    one.cookies.clear()
    assert one.get("/api/setup", headers={"authorization": "Bearer right-token"}).status_code == 200


@pytest.mark.parametrize(
    ("path", "location"),
    [("/", "./"), ("/a/b c", "./b%20c"), ("//evil.example", "./evil.example"), ("/a:b", "./a%3Ab")],
)
def test_the_way_on_from_a_token_keeps_what_a_proxy_took_away(browser, path, location):
    found = browser(token="right-token").get(BASE + path, params={"token": "right-token"})
    assert found.status_code == 303 and found.headers["location"] == location
    outside = "https://hub.example.org/user/me/proxy/8000" + path
    assert urljoin(outside, location).startswith("https://hub.example.org/user/me/proxy/8000/")


def test_a_person_without_the_token_is_told_so_on_a_page(browser):
    one = browser(token="right-token")
    found = one.get("/", headers={"accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
    assert found.status_code == 401 and found.headers["content-type"].startswith("text/html")
    assert "link with the token" in found.text and "right-token" not in found.text
    assert "default-src 'none'" in found.headers["content-security-policy"]
    assert one.get("/", headers={"accept": "application/json"}).json()["error"]


def test_an_app_that_others_can_reach_has_a_token_unless_told_otherwise():
    assert AppConfig().with_token().token is None
    assert len(AppConfig(host="0.0.0.0").with_token().token) > 20
    assert AppConfig(host="0.0.0.0", token="none").with_token().token is None
    assert AppConfig(token="auto").with_token().token != AppConfig(token="auto").with_token().token
    assert AppConfig(host="0.0.0.0").hosts is None
    assert AppConfig(host="10.0.0.7").hosts >= {"10.0.0.7", "localhost"}


@pytest.mark.parametrize("given", ["/x", "/x/"])
def test_a_base_path_works_behind_proxies_that_strip_it_and_those_that_do_not(browser, given):
    one = browser(base_path=given)
    assert one.get("/x/api/health").status_code == 200
    assert one.get("/api/health").status_code == 200  # stripped
    found = one.get("/x")
    assert found.status_code == 307 and found.headers["location"] == "/x/"
    assert "Path=/x/" in found.headers["set-cookie"]
    assert one.get("/x/").status_code == 200 and "set-cookie" not in one.get("/x/").headers
    assert one.get("/x/static/app.css").status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/static/../config.py",
        "/static/..%2fconfig.py",
        "/static/%2e%2e/config.py",
        "/static/%2e%2e%2fconfig.py",
        "/static/..%5cconfig.py",
        "/static/....//config.py",
        "/static//etc/passwd",
        "/static/%2fetc%2fpasswd",
        "/static/app.js%00.css",
        "/static/.",
        "/static/",
        "/static",
        "/static/app.JS",
        "/static/file:///etc/passwd",
        "/..%2f..%2fetc/passwd",
        "/api/run/subjects/..%2f..%2frun.json",
        "/docs",
        "/redoc",
        "/openapi.json",
    ],
)
def test_nothing_but_named_files_is_served(browser, path):
    found = browser().get(path)
    assert found.status_code == 404 and found.json()["error"]


def test_things_of_others_do_not_exist(client, app, image):
    stranger = TestClient(client.app, base_url=BASE)
    own = {"off": [], "model": "vit"}
    assert client.get(f"/api/images/{image}/rows?model=vit&query=0").status_code == 200
    client_cookie = dict(client.cookies)
    stranger.get("/")  # has a cookie of its own
    for cookies in (dict(stranger.cookies), {}, {"archaeology-8000": "forged.cookie"}):
        stranger.cookies.clear()
        stranger.cookies.update(cookies)
        assert stranger.get(f"/api/images/{image}/subject").status_code == 404
        assert stranger.get(f"/api/images/{image}/rows?model=vit&query=0").status_code == 404
        assert stranger.post(f"/api/images/{image}/ablate", json=own).status_code == 404
        assert stranger.post(f"/api/images/{image}/attacks", json={}).status_code == 404
    begun = client.post(
        f"/api/images/{image}/attacks", json={"model": "vit", "attack": "fgsm", "epsilon": 0.01}
    ).json()["id"]
    for method, path in (("GET", "events"), ("GET", "subject"), ("GET", "rows"), ("DELETE", "")):
        assert stranger.request(method, f"/api/attacks/{begun}/{path}".rstrip("/")).status_code == 404
    assert dict(client.cookies) == client_cookie


def test_what_is_not_known_is_404_and_a_wrong_way_of_asking_405(client):
    assert client.get("/api/images/nothing/subject").status_code == 404
    assert client.get("/api/attacks/nothing/events").status_code == 404
    assert client.get("/api/run/subjects").status_code == 404
    found = client.put("/api/images")
    assert found.status_code == 405 and "address" in found.json()["error"]


def test_a_request_that_is_too_long_is_refused(client, image):
    found = client.post(
        f"/api/images/{image}/ablate", content=b"[" * 200_000, headers={"content-type": "application/json"}
    )
    assert found.status_code == 413


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"base_path": "/a b"}, "plain path"),
        ({"base_path": "/../x"}, "plain path"),
        ({"token": "short"}, "at least 8"),
        ({"token": "spaces in it"}, "fits"),
        ({"allow_host": ("https://x.org",)}, "without https"),
        ({"frame_ancestors": ("*; script-src *",)}, "origin such as"),
        ({"port": 70000}, "65535"),
        ({"vit": "none", "cnn": "none"}, "something to show"),
        ({"limits": {"bytes": 1}}, "1000"),
        ({"surprise": 1}, "Extra"),
    ],
)
def test_a_bad_configuration_is_told(config, words):
    with pytest.raises(ValueError, match=words):
        AppConfig(**config)
