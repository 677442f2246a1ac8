"""`archaeology COMMAND`: numbers on stdout, the rest on stderr, one clear message where something is wrong.

Exit codes: 0 all went well; 1 it found something wrong (`doctor`), or broke in a way that is our fault; 2 the
caller can mend it.
"""

import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module

from archaeology.core.errors import TrainingFailedError
from archaeology.core.registry import unknown_name

COMMANDS = {
    "dig": "compare a vision transformer with a CNN on the same images, and write a report",
    "explain": "why a model answers as it does to a picture: maps by many methods, marked by judges",
    "represent": "what each layer of a model knows: neighbours, probes, and which layers are alike",
    "attack": "how much a change of the image breaks models: curves, transfer, gradients checked",
    "train": "train a recipe into a checkpoint folder",
    "compare-training": "which way of training is good for what: accuracy, time, intervals, attention",
    "compare-learning": "supervised, self-distilled, masked, image-text: what each way of learning knows",
    "zero-shot": "name images by words alone, and say how much the wording matters",
    "app": "explore a dig, and any image of yours, in the browser",
    "report": "write the report of a finished dig again",
    "figures": "draw the figures of the synthetic worlds, from trained runs",
    "profile": "parameters, FLOPs, memory and speed of specimens, side by side",
    "zoo": "table of all attention mechanisms; measure and draw them here",
    "list": "name what there is: specimens, recipes, worlds, data, figures",
    "doctor": "say what is wrong with a training run or this installation, and how to mend it",
}
EXAMPLE = "archaeology dig --vit timm:vit_base_patch16_224 --cnn torchvision:resnet50 --data folder:photos/"


def usage() -> str:
    """What `archaeology --help` prints."""
    width = max(map(len, COMMANDS))
    listed = "\n".join(f"  {name:{width}}  {summary}" for name, summary in COMMANDS.items())
    return (
        "usage: archaeology COMMAND [options]\n\n"
        "Dig into what a vision transformer learned.\n\n"
        f"commands:\n{listed}\n\n"
        f"options of a command:  archaeology COMMAND --help\nfor example:  {EXAMPLE}\n"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: What stands behind `archaeology`; None takes the process's own.

    Returns:
        The exit code.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or words[0] in ("-h", "--help", "help"):
        print(usage(), end="")
        return 0 if words else 2
    if words[0] in ("-V", "--version"):
        from archaeology import __version__

        print(f"archaeology {__version__}")
        return 0
    try:
        if words[0] not in COMMANDS:
            raise unknown_name("command", words[0], list(COMMANDS))
        run: Callable[[Sequence[str]], int] = import_module(
            f"archaeology.cli.{words[0].replace('-', '_')}"
        ).run
        return run(words[1:])
    except (ValueError, OSError, ImportError) as error:
        if os.environ.get("ARCHAEOLOGY_TRACEBACK"):
            raise
        print(f"archaeology: {explained(error)}", file=sys.stderr)
        return 2
    except TrainingFailedError as error:
        print(f"archaeology: {error} (`archaeology doctor` on the run's folder says more.)", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(
            "archaeology: stopped; what was finished is kept, the same command goes on from there.",
            file=sys.stderr,
        )
        return 130


def explained(error: Exception) -> str:
    """An error in one message for people; pydantic's list of findings becomes one line a field."""
    if not hasattr(error, "errors"):
        return str(error)
    lines = []
    for finding in error.errors():  # pyright: ignore[reportAttributeAccessIssue], pydantic is not imported for --help
        place = " ".join(f"--{str(part).replace('_', '-')}" for part in finding["loc"])
        lines.append(f"{place}: {finding['msg']}, but got {finding['input']!r}")
    return "; ".join(lines)
