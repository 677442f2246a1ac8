"""The app as an ASGI application: routes behind a guard, started and stopped with the server."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response

from archaeology.app import attack_routes, experiment_routes, image_routes, pages, run_routes
from archaeology.app.config import AppConfig
from archaeology.app.refusal import Refusal
from archaeology.app.security import Guard, refused
from archaeology.app.service import Service

log = logging.getLogger("archaeology.app")
WORDS = {404: "There is nothing at this address.", 405: "This address does not know this kind of request."}


def create_app(config: AppConfig, service: Service | None = None) -> FastAPI:
    """The app, with its models loaded.

    Args:
        config: What to serve and how.
        service: Instead of one made from `config`, for tests.

    Raises:
        FileNotFoundError: If there is no such run.
        ValueError: If the run is not a finished dig, or a model cannot be loaded.
    """
    config = config.with_token()
    service = service or Service.of(config)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await service.start()
        try:
            yield
        finally:
            await service.stop()

    # No pages of documentation: they would load scripts from elsewhere.
    app = FastAPI(lifespan=lifespan, openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    app.state.service = service
    app.include_router(pages.router)
    for routes in (run_routes, image_routes, experiment_routes, attack_routes):
        app.include_router(routes.router, prefix="/api")
    app.add_exception_handler(Refusal, _refused)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_middleware(Guard, config=config, visitors=service.visitors)
    return app


def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)
    return refused(error)


def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return refused(Refusal(error.status_code, WORDS.get(error.status_code, str(error.detail))))
