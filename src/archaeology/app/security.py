"""Who may ask what: names of this machine, tokens, origins, sizes of requests, and headers that bind the browser.

Everything goes through one guard in front of the app. Nothing is left to a page: each gets a policy that lets it run no
script but the app's own, speak to nobody else, and be shown in no foreign frame.
"""

import hmac
import logging
from html import escape
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect, cookie_parser
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from archaeology.app.config import AppConfig
from archaeology.app.refusal import Refusal
from archaeology.app.sessions import Visitors
from archaeology.app.uploads import FORM_BYTES

log = logging.getLogger("archaeology.app")
BODY_BYTES = 100_000
SAFE = ("GET", "HEAD")
OPEN = ("/api/health",)
TOKEN_PAGE = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark"><title>The link is needed: Attention Archaeology</title></head>
<body><main><h1>The link with the token is needed</h1><p>{words}</p></main></body>
</html>
"""


def policy(frame_ancestors: tuple[str, ...]) -> str:
    """The Content-Security-Policy of every answer."""
    return "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "img-src 'self' data: blob:",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            f"frame-ancestors {' '.join(frame_ancestors) or chr(39) + 'none' + chr(39)}",
        )
    )


def binding_headers(config: AppConfig) -> dict[str, str]:
    """Headers of every answer."""
    found = {
        "content-security-policy": policy(config.frame_ancestors),
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
        "cross-origin-resource-policy": "same-origin",
        "cross-origin-opener-policy": "same-origin",
        "permissions-policy": "camera=(), microphone=(), geolocation=()",
    }
    return found if config.frame_ancestors else {**found, "x-frame-options": "DENY"}


class Guard:
    """ASGI middleware in front of everything."""

    def __init__(self, app: ASGIApp, config: AppConfig, visitors: Visitors) -> None:
        """Guard an app.

        Args:
            app: What is guarded.
            config: Whose token is a real one or None.
            visitors: Knows cookies.
        """
        self._app, self._config, self._visitors = app, config, visitors
        self._headers = binding_headers(config)
        self.cookie = f"archaeology-{config.port}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return  # no websockets here: the server closes them
        answer = Answer(send, self._headers)
        try:
            instead = self._admitted(scope, answer)
            if instead is None:
                await self._app(scope, self._limited(scope, receive), answer)
            else:
                await instead(scope, receive, answer)
        except ClientDisconnect:
            log.debug("a visitor left in the middle of a request")
        except Refusal as refusal:
            await answer.refuse(said_to(Headers(scope=scope), refusal), scope, receive)
        except Exception:
            log.exception("a request broke the app")
            words = "Something went wrong inside the app; its log says what."
            await answer.refuse(refused(Refusal(500, words)), scope, receive)

    def _admitted(self, scope: Scope, answer: "Answer") -> Response | None:
        """None where the request may go on; else what is answered instead."""
        headers = Headers(scope=scope)
        self._check_host(headers)
        self._place(scope)
        cookies = cookie_parser(headers.get("cookie", ""))
        path = scope["path"][len(self._config.base_path) :]
        self._check_origin(scope, headers, path)
        if path not in OPEN:
            instead = self._check_token(scope, headers, cookies)
            if instead is not None:
                return instead
        visitor = self._visitors.known(cookies.get(self.cookie))
        if visitor is None and (path in ("", "/") or scope["method"] not in SAFE):
            cookie = self._visitors.new()
            visitor = self._visitors.known(cookie)
            answer.cookies.append(self._set_cookie(self.cookie, cookie, scope))
        scope.setdefault("state", {})["visitor"] = visitor
        return RedirectResponse(f"{self._config.base_path}/", 307) if path == "" else None

    def _check_host(self, headers: Headers) -> None:
        hosts = self._config.hosts
        given = name_of_host(headers.get("host", ""))
        if hosts is not None and given not in hosts:
            shown = given if given.replace(".", "").replace("-", "").isalnum() else "something else"
            raise Refusal(
                421,
                f"This app must be called {' or '.join(sorted(hosts))}, but was called {shown}; start it with "
                "--allow-host NAME for another name.",
            )

    def _place(self, scope: Scope) -> None:
        """Put the base path in front where a proxy has taken it away."""
        base, path = self._config.base_path, scope["path"]
        if base and path != base and not path.startswith(f"{base}/"):
            scope["path"] = base + path
            scope["raw_path"] = quote(scope["path"]).encode()
        scope["root_path"] = base

    def _check_origin(self, scope: Scope, headers: Headers, path: str) -> None:
        """Only the app's own pages may ask the API; a program that is no browser names no page."""
        origin, site = headers.get("origin"), headers.get("sec-fetch-site")
        foreign = site not in (None, "same-origin", "none")
        if origin is not None and scope["method"] not in SAFE:
            foreign = foreign or not self._own(origin, headers.get("host", ""))
        if foreign and (path.startswith("/api/") or scope["method"] not in SAFE):
            raise Refusal(403, "Only the app's own page may do this, but the request comes from another one.")

    def _own(self, origin: str, host: str) -> bool:
        """Whether an origin is the address that was called, or a name that was allowed for a proxy."""
        try:
            parts = urlsplit(origin)
            name = name_of_host(parts.netloc)
        except ValueError:
            return False
        if parts.scheme not in ("http", "https"):
            return False
        return parts.netloc.lower() == host.lower() or name in self._config.allow_host

    def _check_token(self, scope: Scope, headers: Headers, cookies: dict[str, str]) -> Response | None:
        """A token in the address becomes a cookie, and leaves the address.

        Raises:
            Refusal: 401, if there is none, or a wrong one.
        """
        token = self._config.token
        if token is None:
            return None
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        given = [value for name, value in query if name == "token"]
        name = f"{self.cookie}-token"
        if given:
            if not is_same(given[0], token):
                raise wrong_token()
            rest = urlencode([(key, value) for key, value in query if key != "token"])
            # Relative, because a proxy may have taken a part of the path away that we know nothing of.
            place = "./" + quote(scope["path"].rpartition("/")[2])
            response = RedirectResponse(place + (f"?{rest}" if rest else ""), 303)
            response.headers.append("set-cookie", self._set_cookie(name, token, scope))
            return response
        bearer = headers.get("authorization", "")
        shown = bearer[7:] if bearer.startswith("Bearer ") else cookies.get(name, "")
        if not is_same(shown, token):
            raise wrong_token()
        return None

    def _set_cookie(self, name: str, value: str, scope: Scope) -> str:
        secure = "; Secure" if scope.get("scheme") == "https" else ""
        return f"{name}={value}; Path={self._config.base_path}/; HttpOnly; SameSite=Strict{secure}"

    def _limited(self, scope: Scope, receive: Receive) -> Receive:
        """The request's body, that ends in an error where it is too long."""
        is_form = scope["method"] == "POST" and scope["path"].endswith("/api/images")
        most = self._config.limits.bytes + FORM_BYTES if is_form else BODY_BYTES
        said = Headers(scope=scope).get("content-length", "0")
        too_long = Refusal(
            413,
            f"A request must have at most {most / 1e6:g} MB, but this one has more; make the file smaller.",
        )
        if not said.isdigit() or int(said) > most:
            raise too_long
        read = 0

        async def limited() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > most:
                raise too_long
            return message

        return limited


class Answer:
    """The way back: adds headers and cookies, and knows whether anything was sent."""

    def __init__(self, send: Send, headers: dict[str, str]) -> None:
        self._send, self._headers = send, headers
        self.cookies: list[str] = []
        self._begun = False

    async def __call__(self, message: Message) -> None:
        """Send on."""
        if message["type"] == "http.response.start":
            self._begun = True
            found = MutableHeaders(scope=message)
            for name, value in self._headers.items():
                found[name] = value
            found.setdefault("cache-control", "no-store")
            for cookie in self.cookies:
                found.append("set-cookie", cookie)
        await self._send(message)

    async def refuse(self, response: Response, scope: Scope, receive: Receive) -> None:
        """Answer with an error, unless an answer has begun already."""
        if not self._begun:
            await response(scope, receive, self)


def refused(refusal: Refusal) -> JSONResponse:
    """`{"error": words}`; the connection is closed where a body may still be on its way."""
    headers: dict[str, str] = {}
    if refusal.retry_after is not None:
        headers["retry-after"] = str(refusal.retry_after)
    if refusal.status in (408, 413):
        headers["connection"] = "close"
    return JSONResponse({"error": refusal.words}, refusal.status, headers)


def said_to(headers: Headers, refusal: Refusal) -> Response:
    """A refusal for a program; for a person who came without the token a page that says what is missing."""
    if refusal.status != 401 or "text/html" not in headers.get("accept", ""):
        return refused(refusal)
    return HTMLResponse(TOKEN_PAGE.format(words=escape(refusal.words)), 401)


def wrong_token() -> Refusal:
    """One answer for no token and for a wrong one."""
    return Refusal(
        401, "This app asks for its token: open the address that it printed when it was started (?token=...)."
    )


def is_same(given: str, token: str) -> bool:
    """Compare in a time that does not tell how much was right."""
    return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), token.encode())


def name_of_host(netloc: str) -> str:
    """A host without its port, in lower case; IPv6 without brackets."""
    if netloc.startswith("["):
        return netloc[1:].partition("]")[0].lower()
    return netloc.rpartition(":")[0].lower() if ":" in netloc else netloc.lower()
