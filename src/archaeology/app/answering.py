"""How a route gets its answer: the service, who asks, and a job that ends when the one who asked has left."""

import asyncio
import json
from collections.abc import Coroutine
from typing import Any, TypeVar

import anyio.to_thread
from starlette.requests import Request
from starlette.responses import Response

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


async def container(data: bytes) -> Response:
    """The bytes of a subject."""
    return Response(data, media_type="application/octet-stream")


async def in_thread(function: Any, *arguments: Any) -> Any:
    """Something that reads or codes for a while, beside the loop."""
    return await anyio.to_thread.run_sync(function, *arguments)


async def body_of(request: Request) -> dict[str, Any]:
    """The JSON object in a request's body.

    Raises:
        Refusal: 415 or 422, if it is none.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise Refusal(415, "The request must be sent as application/json.")
    try:
        found = json.loads(await request.body())
    except (ValueError, RecursionError):
        raise Refusal(422, "The request must be JSON, but cannot be read as such.") from None
    if not isinstance(found, dict):
        raise Refusal(422, "The request must be a JSON object.")
    return found
