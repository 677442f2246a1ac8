"""Images of visitors: upload one, and see what models make of it."""

import asyncio

import numpy as np
from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from archaeology.app import seeing
from archaeology.app.answering import container, service_of, unless_left, visitor_of
from archaeology.app.decoding import Picture
from archaeology.app.refusal import Refusal, not_found
from archaeology.app.uploads import checked_image, read_form, size_of
from archaeology.explain.method import explanations

router = APIRouter()
MOST_METHODS = 20


@router.post("/images")
async def upload(request: Request) -> Response:
    """Keep an image for this visitor."""
    service, visitor = service_of(request), visitor_of(request)
    assert visitor is not None
    most = service.config.limits.bytes
    async with service.room.held(size_of(request.headers, most)):
        fields = await read_form(request.headers.get("content-type", ""), request.stream(), most)
        if "run" in fields:
            if service.run is None:
                raise not_found("run")
            picture = await asyncio.to_thread(service.run.picture, fields["run"].decode("utf-8", "replace"))
        else:
            side = service.config.limits.side
            picture = await service.decoders.decode(checked_image(fields), side, service.frame)
        del fields
    name = service.images.put(visitor, picture, picture.size)
    height, width = picture.pixels.shape[:2]
    return JSONResponse(
        {"id": name, "width": width, "height": height, "original": list(picture.original)}, 201
    )


@router.get("/images/{name}/subject")
async def subject(request: Request, name: str) -> Response:
    """Everything the explorer shows of it."""
    service = service_of(request)
    picture = service.picture(visitor_of(request), name)
    return await container(request, await subject_of(request, picture))


async def subject_of(request: Request, picture: Picture, change: np.ndarray | None = None) -> bytes:
    """The container of a picture for the models and methods that the request names."""
    service = service_of(request)
    asked = {key: request.query_params[key] for key in ("vit", "cnn") if key in request.query_params}
    specimens = {key: service.specimen(key) for key in asked.values()} if asked else service.models.specimens
    methods = methods_of(request.query_params.get("methods"))

    def see(items: list[tuple[Picture, np.ndarray | None]]) -> list[bytes]:
        return [one.pack() for one in seeing.subjects(specimens, items, methods)]

    key = (tuple(specimens), methods, picture.pixels.shape, picture.exact is None)
    return await unless_left(request, service.worker.do(see, (picture, change), key))


def methods_of(text: str | None) -> tuple[str, ...] | None:
    """Names of methods, as a list with commas; None where none is named.

    Raises:
        Refusal: 422, if there is no such method.
    """
    if text is None:
        return None
    names = tuple(dict.fromkeys(filter(None, text.split(","))))
    if len(names) > MOST_METHODS or any(name not in explanations for name in names):
        raise Refusal(422, f"Methods must be among {', '.join(explanations.names())}.")
    return names
