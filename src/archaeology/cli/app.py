"""`archaeology app [RUN]`: a server on this machine that shows a run, and what models make of images given to it."""

from collections.abc import Sequence
from pathlib import Path

import tyro
from pydantic import Field

from archaeology.app.config import AppConfig
from archaeology.cli.arguments import parsed


class AppArguments(AppConfig):
    """Explore a finished dig, and any image that you drop on the page, in the browser.

    Everything stays on this machine: nothing is loaded from elsewhere, and images are kept in memory only.
    """

    run: tyro.conf.Positional[Path | None] = Field(
        default=None, description="the folder of a finished dig; none for images of your own only"
    )
    open: bool = Field(default=False, description="open the page in the browser")


def run(words: Sequence[str]) -> int:
    """Serve until Ctrl-C."""
    arguments = parsed(AppArguments, "app", words)
    config = AppConfig.model_validate(arguments.model_dump(exclude={"open"}))
    from archaeology.app.serve import serve

    serve(config, opens=arguments.open)
    return 0
