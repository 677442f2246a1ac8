"""Run the app on a port of this machine until somebody stops it."""

import logging
import socket
import sys
import webbrowser
from contextlib import suppress
from types import FrameType

import uvicorn

from archaeology.app.config import AppConfig
from archaeology.app.server import create_app
from archaeology.app.service import Service

log = logging.getLogger("archaeology.app")
GRACE = 5  # seconds for answers that are under way when the server stops


class Server(uvicorn.Server):
    """A server that tells streams to end as soon as it is asked to stop, instead of waiting for them."""

    service: Service

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Ctrl-C, or the machine shuts down."""
        self.service.leave()
        super().handle_exit(sig, frame)


def serve(config: AppConfig, *, opens: bool = False) -> None:
    """Load, listen, serve; returns when the server was stopped.

    Args:
        config: What to serve and how.
        opens: Whether to open the page in the browser.

    Raises:
        OSError: If the port is taken, or the address is not one of this machine.
        ValueError: If the run or a model cannot be served.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    listening = bound(config.host, config.port)
    try:
        config = config.model_copy(update={"port": listening.getsockname()[1]}).with_token()
        app = create_app(config)
        server = Server(
            uvicorn.Config(
                app,
                log_level="warning",
                access_log=False,  # addresses may hold the token
                server_header=False,
                timeout_graceful_shutdown=GRACE,
                timeout_keep_alive=30,
                limit_concurrency=1000,
                h11_max_incomplete_event_size=65536,
            )
        )
        server.service = app.state.service
        address = address_of(config)
        log.info("serving at %s (Ctrl-C stops it)", address)
        if opens:
            webbrowser.open(address)
        with suppress(KeyboardInterrupt):  # uvicorn hands on what stopped it, unless that is ignored here
            server.run(sockets=[listening])
        log.info("stopped")
    finally:
        listening.close()


def bound(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Raises:
        OSError: If it cannot; says why and what to do.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        found = socket.socket(family, kind, protocol)
    except OSError as error:
        raise OSError(
            f"--host must be an address of this machine, but {host!r} is none ({error}); use 127.0.0.1."
        ) from error
    try:
        if sys.platform != "win32":
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(address)
        found.listen(512)
    except OSError as error:
        found.close()
        raise OSError(
            f"The app cannot listen at {host} port {port} ({error.strerror or error}); is it running already? Use "
            "another port, such as --port 8001, or --port 0 for any that is free."
        ) from error
    return found


def address_of(config: AppConfig) -> str:
    """Where to point a browser at, token included."""
    host = "127.0.0.1" if config.host in ("0.0.0.0", "::", "") else config.host
    shown = f"[{host}]" if ":" in host else host
    token = f"?token={config.token}" if config.token else ""
    return f"http://{shown}:{config.port}{config.base_path}/{token}"
