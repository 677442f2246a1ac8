"""The images of the run; an id is an image's path in its data, slashes included, and only looked up in a table."""

import asyncio

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from archaeology.app.answering import container, service_of
from archaeology.app.refusal import Refusal
from archaeology.app.run import Run

router = APIRouter()


def run_of(request: Request) -> Run:
    """The run that is shown.

    Raises:
        Refusal: 404, if there is none.
    """
    run = service_of(request).run
    if run is None:
        raise Refusal(404, "This app shows no run; start it with `archaeology app RUN`.")
    return run


@router.get("/run/subjects")
def listed(request: Request) -> Response:
    """All images, as a list."""
    return JSONResponse(run_of(request).entries)


@router.get("/run/subjects/{name:path}/thumbnail.png")
async def thumbnail(request: Request, name: str) -> Response:
    """One image, small."""
    data = await asyncio.to_thread(run_of(request).thumbnail, name)
    return Response(data, media_type="image/png", headers={"cache-control": "private, max-age=3600"})


@router.get("/run/subjects/{name:path}")
async def subject(request: Request, name: str) -> Response:
    """One image with everything the run knows of it."""
    return container(request, await asyncio.to_thread(run_of(request).packed, name))
