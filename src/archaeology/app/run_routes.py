"""The images of the run; an id is the number of an image's row in the data set, and only looked up in a table."""

import asyncio
from hashlib import sha256

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
    """One image, small; asked for again each time, because another run has other images at the same addresses."""
    data = await asyncio.to_thread(run_of(request).thumbnail, name)
    tag = f'"{sha256(data).hexdigest()}"'
    headers = {"cache-control": "private, no-cache", "etag": tag}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    return Response(data, media_type="image/png", headers=headers)


@router.get("/run/subjects/{name:path}")
async def subject(request: Request, name: str) -> Response:
    """One image with everything the run knows of it."""
    return await container(request, await asyncio.to_thread(run_of(request).packed, name))
