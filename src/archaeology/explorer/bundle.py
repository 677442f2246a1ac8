"""All modules of the explorer joined into one text that imports nothing: a page holds it, or a server sends it.

No tool of the JavaScript world is needed, because the modules keep to a few rules, which are checked here: imports name
things of a module beside it, on one line; only `const`, `function` and `class` are exported; and no two modules have a
name of the same spelling at their top. Then joining them in order of dependence, with the words `import` and `export`
taken out, changes nothing. Style sheets are text in a module, so that a page without any rights to style can use them.
"""

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

ENTRY = "explorer.js"
STYLE = "explorer.css"
IMPORT = re.compile(
    r'^import \{ ([\w$]+(?: as [\w$]+)?(?:, [\w$]+)*) \} from "\./([\w.-]+\.js)";[ \t]*\n?', re.MULTILINE
)
EXPORT = re.compile(r"^export ((?:async )?function\*?|const|class) ([\w$]+)", re.MULTILINE)
TOP = re.compile(r"^(?:(?:async )?function\*?|const|let|var|class) ([\w$]+)", re.MULTILINE)
STYLE_LINE = 'export const STYLE = "";'


@cache
def bundle() -> str:
    """The explorer as one module, whose exports are those of explorer.js."""
    folder = files("archaeology.explorer") / "static"
    texts = {
        one.name: one.read_text(encoding="utf-8") for one in folder.iterdir() if one.name.endswith(".js")
    }
    style = folder / STYLE
    return joined(texts, ENTRY, style.read_text(encoding="utf-8") if style.is_file() else "")


def joined(modules: Mapping[str, str], entry: str, style: str = "") -> str:
    """One module of several.

    Args:
        modules: Text of each, by file name.
        entry: Whose exports stay.
        style: Put where a module says `export const STYLE = "";`.

    Raises:
        ValueError: If a module breaks one of the rules; names it and the rule.
    """
    order = _in_order(modules, entry)
    exported: dict[str, set[str]] = {}
    owner: dict[str, str] = {}
    parts = []
    for name in order:
        text = modules[name].replace(STYLE_LINE, f"export const STYLE = {json.dumps(style)};")
        exported[name] = {match[2] for match in EXPORT.finditer(text)}
        for match in IMPORT.finditer(text):
            _check_imported(name, match[2], set(match[1].split(", ")), exported[match[2]])
        bare = EXPORT.sub(r"\1 \2", IMPORT.sub("", text))
        _check_nothing_left(name, bare)
        for match in TOP.finditer(bare):
            other = owner.setdefault(match[1], name)
            if other != name:
                raise ValueError(
                    f"Names at the top of a module must be unique over all modules, but {match[1]!r} is in {other} "
                    f"and in {name}; rename one."
                )
        parts.append(f"// {name}\n{bare.strip()}\n")
    names = ", ".join(sorted(exported[entry]))
    return "\n".join(parts) + (f"\nexport {{ {names} }};\n" if names else "")


def _in_order(modules: Mapping[str, str], entry: str) -> list[str]:
    """Names of the modules that `entry` needs, each after those that it imports."""
    order: list[str] = []
    on_the_way: list[str] = []

    def visit(name: str) -> None:
        if name in order:
            return
        if name in on_the_way:
            raise ValueError(
                f"Modules must not import in a circle, but {' -> '.join([*on_the_way, name])} do."
            )
        if name not in modules:
            raise ValueError(
                f"{on_the_way[-1] if on_the_way else 'The page'} imports {name}, but there is none."
            )
        on_the_way.append(name)
        for match in IMPORT.finditer(modules[name]):
            visit(match[2])
        on_the_way.pop()
        order.append(name)

    visit(entry)
    return order


def _check_imported(name: str, source: str, wanted: set[str], exported: set[str]) -> None:
    if renamed := [one for one in wanted if " as " in one]:
        raise ValueError(f"Imports must keep names, but {name} renames {', '.join(renamed)}.")
    if unknown := sorted(wanted - exported):
        raise ValueError(f"{name} imports {', '.join(unknown)} from {source}, which does not export it.")


def _check_nothing_left(name: str, text: str) -> None:
    for line in text.splitlines():
        if re.match(r"(import|export)\b", line):
            raise ValueError(
                'Modules must import as `import { a, b } from "./x.js";` on one line and export `function`, `const` or '
                f"`class` only, but {name} has {line.strip()!r}."
            )


def script_hash(text: str) -> str:
    """How a content security policy names an inline script: `'sha256-...'`."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode('ascii')}'"


def inline_safe(script: str) -> str:
    """A script as it can stand between `<script>` and `</script>`: nothing in it ends or nests the element.

    `</script` and `<!--` are only ever parts of text in our modules, where the escape means the same letters.
    """
    return script.replace("</script", "<\\/script").replace("<!--", "<\\!--")
