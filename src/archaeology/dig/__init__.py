"""The whole survey of two models, from images to a run directory that anyone can read later and elsewhere.

Called as `archaeology.dig(...)`. Nothing heavy is imported before that, so that the command line can show its help.
"""

from typing import Any

from archaeology.core.facade import make_callable


def _dig(*arguments: Any, **options: Any) -> Any:
    """See `archaeology.dig.run.dig`."""
    from archaeology.dig.run import dig

    return dig(*arguments, **options)


make_callable(__name__, _dig)
