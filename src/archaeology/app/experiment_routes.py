"""What a visitor may try on an image: switch heads off, cover patches, ask for rows of attention."""

import re
from typing import Any, TypeVar

from fastapi import APIRouter, Request
from pydantic import BaseModel, ValidationError
from starlette.responses import JSONResponse, Response

from archaeology.app import ablation, occlusion
from archaeology.app.answering import body_of, container, service_of, unless_left, visitor_of
from archaeology.app.decoding import Picture
from archaeology.app.refusal import Refusal

router = APIRouter()
Wish = TypeVar("Wish", bound=BaseModel)


async def wish_of(request: Request, kind: type[Wish]) -> Wish:
    """The request's body as a wish.

    Raises:
        Refusal: 415 or 422, if it is none; says which field and why.
    """
    body = await body_of(request)
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        raise Refusal(422, " ".join(map(said, error.errors(include_url=False))) or "It is no wish.") from None


def said(finding: Any) -> str:
    """One finding of pydantic, in one sentence; without what came, which may be long."""
    place = ".".join(str(part) for part in finding["loc"]) or "The request"
    return f"{place}: {finding['msg']}."


@router.post("/images/{name}/ablate")
async def ablate(request: Request, name: str) -> Response:
    """Logits without some heads."""
    service = service_of(request)
    picture = service.picture(visitor_of(request), name)
    wish = await wish_of(request, ablation.Wish)
    specimen = service.specimen(wish.model)

    def run(pictures: list[Picture]) -> list[Any]:
        return [ablation.ablated(wish, specimen, one, service.heads) for one in pictures]

    return JSONResponse(await unless_left(request, service.worker.do(run, picture)))


@router.post("/images/{name}/occlude")
async def occlude(request: Request, name: str) -> Response:
    """Logits with some patches covered."""
    service = service_of(request)
    picture = service.picture(visitor_of(request), name)
    wish = await wish_of(request, occlusion.Wish)
    specimens = {key: service.specimen(key) for key in wish.models}

    def run(pictures: list[Picture]) -> list[Any]:
        return [occlusion.occluded(wish, specimens, one) for one in pictures]

    return JSONResponse(await unless_left(request, service.worker.do(run, picture)))


@router.get("/images/{name}/rows")
async def rows(request: Request, name: str) -> Response:
    """What one query looks at in all layers and heads."""
    return await rows_of(request, service_of(request).picture(visitor_of(request), name))


async def rows_of(request: Request, picture: Picture) -> Response:
    """The rows of the model and the query that the request names.

    Raises:
        Refusal: 404 or 422, if there is no such model or token.
    """
    service = service_of(request)
    specimen = service.specimen(request.query_params.get("model"))
    text = request.query_params.get("query", "")
    if not re.fullmatch("-1|[0-9]{1,6}", text):
        raise Refusal(422, "query must be the number of a token, from 0, or -1 for all patches on average.")
    key = request.query_params["model"]

    def run(pictures: list[Picture]) -> list[bytes]:
        return [service.rows.of(key, specimen, one, int(text)) for one in pictures]

    return await container(request, await unless_left(request, service.worker.do(run, picture)))
