"""The page and what it loads: files that are named here and no others, and the answer that says what the app can do."""

from functools import cache
from importlib.resources import files
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from archaeology.app.attacks import repeats_of
from archaeology.app.refusal import not_found
from archaeology.app.service import Service
from archaeology.attacks.method import attacks

router = APIRouter()
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
}
EXPLORER = "explorer.js"


@cache
def static_files() -> dict[str, tuple[bytes, str]]:
    """What is served under /static, by name: the files that ship with the app, read once."""
    folder = files("archaeology.app") / "static"
    if not folder.is_dir():
        return {}
    return {
        one.name: (one.read_bytes(), TYPES["." + one.name.rpartition(".")[2]])
        for one in folder.iterdir()
        if one.is_file() and "." + one.name.rpartition(".")[2] in TYPES
    }


@cache
def explorer() -> bytes:
    """The explorer as one module."""
    from archaeology.explorer.bundle import bundle

    return bundle().encode()


@router.get("/")
def page() -> Response:
    """The page."""
    return served("app.html")


@router.get("/static/{name}")
def static(name: str) -> Response:
    """A file of the page."""
    return served(name)


@router.get("/favicon.ico")
def favicon() -> Response:
    """The icon, which browsers ask for whatever the page says."""
    return served("favicon.ico") if "favicon.ico" in static_files() else Response(status_code=204)


def served(name: str) -> Response:
    """A file of the page, to be asked for again each time: the app may have been updated."""
    if name == EXPLORER:
        data, kind = explorer(), TYPES[".js"]
    elif name in static_files():
        data, kind = static_files()[name]
    else:
        raise not_found("file")
    return Response(data, media_type=kind, headers={"cache-control": "no-cache"})


@router.get("/api/health")
def health() -> Response:
    """That the server lives."""
    return JSONResponse({"status": "ok"})


@router.get("/api/setup")
def setup(request: Request) -> Response:
    """What there is to look at and to do."""
    service: Service = request.app.state.service
    return JSONResponse(setup_of(service))


def setup_of(service: Service) -> dict[str, Any]:
    """What `/api/setup` says."""
    config, run = service.config, service.run
    return {
        "models": service.models.described(),
        "runs": None if run is None else {"name": run.name, "subjects": len(run.entries)},
        "attacks": [
            {"name": name, "title": one.title, "norms": list(one.norms), "bounded": one.bounded}
            | {"repeats": repeats_of(name)}
            for name, one in ((name, attacks.get(name)) for name in attacks.names())
        ],
        "methods": service.models.methods(),
        "replacements": ["zero"] if run is None else ["mean", "zero"],
        "limits": {
            "bytes": config.limits.bytes,
            "pixels": config.limits.pixels,
            "seconds": config.limits.seconds,
            "waiting": config.limits.waiting,
        },
        "token_needed": config.token is not None,
    }
