"""How a route gets its answer: the service, who asks, and a job that ends when the one who asked has left."""

import asyncio
import gzip
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import Response

from archaeology.app.config import LOOPBACK
from archaeology.app.refusal import Refusal
from archaeology.app.service import Service

Found = TypeVar("Found")


def service_of(request: Request) -> Service:
    """What the request is served from."""
    return request.app.state.service


def visitor_of(request: Request) -> str | None:
    """Who asks; None for somebody without a cookie."""
    return request.state.visitor


async def until_left(request: Request) -> None:
    """Wait until the one who asked has gone; only after the body has been read."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def unless_left(request: Request, doing: Coroutine[Any, Any, Found]) -> Found:
    """The answer, or an end where nobody waits for it any more.

    Raises:
        Refusal: 499, which nobody reads.
    """
    work = asyncio.ensure_future(doing)
    left = asyncio.ensure_future(until_left(request))
    try:
        await asyncio.wait({work, left}, return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            return work.result()
        raise Refusal(499, "The one who asked has left.")
    finally:
        for task in (work, left):
            task.cancel()
        await asyncio.gather(work, left, return_exceptions=True)


async def container(request: Request, data: bytes) -> Response:
    """The bytes of a subject; pressed for readers who are far away, as they are for those on this machine."""
    headers = {"vary": "accept-encoding"}
    far = request.client is not None and request.client.host not in LOOPBACK
    if far and "gzip" in request.headers.get("accept-encoding", ""):
        data = await asyncio.to_thread(gzip.compress, data, compresslevel=1, mtime=0)
        headers["content-encoding"] = "gzip"
    return Response(data, media_type="application/octet-stream", headers=headers)


async def body_of(request: Request) -> bytes:
    """The JSON in a request's body.

    Raises:
        Refusal: 415, if it does not say that it is JSON: forms of other sites cannot say so.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise Refusal(415, "The request must be sent as application/json.")
    return await request.body()
