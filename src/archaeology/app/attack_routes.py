"""Attacks of visitors: begin one, follow it as it goes, stop it, see what it made."""

import asyncio
import json
from collections.abc import AsyncIterator

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from archaeology.app.answering import container, service_of, until_left, visitor_of
from archaeology.app.attacks import Attack, Attacked, Wish, run_attack
from archaeology.app.experiment_routes import rows_of, wish_of
from archaeology.app.image_routes import subject_of
from archaeology.app.refusal import Refusal, not_found
from archaeology.app.service import Service
from archaeology.attacks.method import attacks

router = APIRouter()
MOST_AT_ONCE = 2
SILENCE = 15.0  # seconds after which a stream says that it lives, so that proxies keep it
SOME = 65536  # bytes of an attack beside its image


@router.post("/images/{name}/attacks")
async def begin(request: Request, name: str) -> Response:
    """Begin an attack."""
    service, visitor = service_of(request), visitor_of(request)
    picture = service.picture(visitor, name)
    assert visitor is not None
    wish = checked(await wish_of(request, Wish))
    specimen = service.specimen(wish.model)
    unfinished = [one for one in service.attacks.of(visitor) if not (one.is_over or one.stop.is_set())]
    if len(unfinished) >= MOST_AT_ONCE:
        raise Refusal(429, f"{len(unfinished)} attacks of yours are running already; stop one, or wait.", 2)
    attack = Attack(wish, picture, service.config.limits.seconds, asyncio.get_running_loop())

    def run(items: list[Attack]) -> list[None]:
        run_attack(items[0], specimen, service.worker.breathe)
        return [None]

    job = service.worker.begin(run, attack)
    attack.leave_line = lambda: service.worker.withdraw(job)
    job.answer.add_done_callback(lambda answer: answer.cancelled() or ended(attack, answer.exception()))
    size = picture.pixels.size * 10 + SOME  # the image, the one attacked, exact too, and the change
    return JSONResponse({"id": service.attacks.put(visitor, attack, size)}, 202)


def ended(attack: Attack, error: BaseException | None) -> None:
    """Tell of an attack that broke, or that was refused while it waited."""
    if error is not None and not attack.is_over:
        words = error.words if isinstance(error, Refusal) else "The attack broke; the app's log says why."
        if isinstance(error, Refusal) and attack.stop.is_set():
            words = "The attack was stopped."
        attack.tell("failed", {"error": words}, is_last=True)


def checked(wish: Wish) -> Wish:
    """The wish, where there is such an attack.

    Raises:
        Refusal: 422, if there is none, or it needs what is not given.
    """
    if wish.attack not in attacks:
        raise Refusal(422, f"attack must be one of {', '.join(attacks.names())}.")
    chosen = attacks.get(wish.attack)
    if wish.norm is not None and wish.norm not in chosen.norms:
        raise Refusal(422, f"norm must be {' or '.join(chosen.norms)} for this attack.")
    if chosen.bounded and wish.epsilon is None:
        raise Refusal(
            422, "epsilon must be given, the largest change of images in [0, 1], such as 0.0157 (4/255)."
        )
    return wish


def attack_of(request: Request, name: str) -> tuple[Service, Attack]:
    """An attack of this visitor.

    Raises:
        Refusal: 404, if there is none.
    """
    service = service_of(request)
    found = service.attacks.get(visitor_of(request), name)
    if found is None:
        raise not_found("attack")
    return service, found


@router.get("/attacks/{name}/events")
async def events(request: Request, name: str) -> Response:
    """Follow an attack; it stops when nobody does any more."""
    service, attack = attack_of(request, name)
    return StreamingResponse(
        stream(request, service, attack),
        media_type="text/event-stream",
        headers={"x-accel-buffering": "no", "cache-control": "no-store"},
    )


async def stream(request: Request, service: Service, attack: Attack) -> AsyncIterator[bytes]:
    """The events of an attack, from the first one on, until it is over, the reader has left, or the server stops."""
    left = asyncio.ensure_future(until_left(request))
    leaving = asyncio.ensure_future(service.leaving.wait())
    told = 0
    attack.watchers += 1  # here, because a stream that is never begun never comes to its end either
    try:
        yield b": following\n\n"
        while not (left.done() or leaving.done()):
            service.attacks.get(visitor_of(request), request.path_params["name"])  # it is not idle
            news = asyncio.ensure_future(attack.news.wait())
            for name, data in attack.events[told:]:
                told += 1
                yield f"event: {name}\ndata: {json.dumps(data)}\n\n".encode()
            if attack.is_over and told == len(attack.events):
                news.cancel()
                return
            done, _ = await asyncio.wait(
                {news, left, leaving}, timeout=SILENCE, return_when=asyncio.FIRST_COMPLETED
            )
            news.cancel()
            if not done:
                yield b": still at it\n\n"
    finally:
        left.cancel()
        leaving.cancel()
        attack.watchers -= 1
        if not attack.watchers and not attack.is_over:
            attack.halt()


@router.delete("/attacks/{name}")
def stop(request: Request, name: str) -> Response:
    """Stop an attack."""
    _, attack = attack_of(request, name)
    attack.halt()
    return Response(status_code=204)


@router.get("/attacks/{name}/subject")
async def subject(request: Request, name: str) -> Response:
    """What models make of the attacked image."""
    result = result_of(request, name)
    return await container(request, await subject_of(request, result.picture, result.change))


@router.get("/attacks/{name}/rows")
async def rows(request: Request, name: str) -> Response:
    """What one query looks at in the attacked image."""
    return await rows_of(request, result_of(request, name).picture)


def result_of(request: Request, name: str) -> Attacked:
    """What came of an attack of this visitor.

    Raises:
        Refusal: 404, if there is none; 409, if it has no end yet.
    """
    _, attack = attack_of(request, name)
    if attack.result is None:
        raise Refusal(
            409,
            "The attack has not come to its end, so there is nothing to see; wait, or run it again.",
        )
    return attack.result
