import base64
import hashlib
import json
import re
import subprocess

import pytest

from archaeology.explorer.bundle import bundle, inline_safe, joined, script_hash

MODULES = {
    "explorer.js": (
        'import { twice, Box } from "./numbers.js";\nimport { STYLE } from "./style.js";\n'
        "export function mount(value) { return [twice(value), new Box().size, STYLE]; }\n"
        "function hidden() { return 1; }\nexport const LEAST = hidden();\n"
    ),
    "numbers.js": (
        'import { FACTOR } from "./factor.js";\n/** export and import are words here: export all. */\n'
        "export const twice = (value) => FACTOR * value;\nexport class Box { size = 3; }\n"
        "export async function later() { return 1; }\n"
    ),
    "factor.js": "export const FACTOR = 2;\n",
    "style.js": 'export const STYLE = "";\n',
    "unused.js": "export const NOBODY = 1;\n",
}
STYLE = '.aa-explorer { content: "\\201c</script>"; }\n'


def run(node: str, script: str) -> str:
    done = subprocess.run(
        [node, "--input-type=module", "-"],
        input=script,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_modules_are_joined_in_order_of_dependence():
    text = joined(MODULES, "explorer.js", STYLE)
    places = [text.index(f"// {name}") for name in ("factor.js", "numbers.js", "style.js", "explorer.js")]
    assert places == sorted(places)
    assert "unused.js" not in text
    assert not re.search(r"^import", text, re.MULTILINE)
    assert re.findall(r"^export.*$", text, re.MULTILINE) == ["export { LEAST, mount };"]


def test_the_joined_module_does_what_the_modules_do(node):
    text = joined(MODULES, "explorer.js", STYLE)
    url = "data:text/javascript;base64," + base64.b64encode(text.encode()).decode()
    found = run(
        node,
        f"const made = await import({url!r}); console.log(JSON.stringify([made.mount(4), Object.keys(made)]));",
    )
    assert json.loads(found) == [[8, 3, STYLE], ["LEAST", "mount"]]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"factor.js": "const FACTOR = 2;\n"}, "imports FACTOR from factor.js, which does not export it"),
        (
            {"style.js": "export const STYLE = '';\nconst twice = 1;\n"},
            "'twice' is in numbers.js and in style.js",
        ),
        (
            {"factor.js": 'import { Box } from "./numbers.js";\nexport const FACTOR = 2;\n'},
            "import in a circle",
        ),
        ({"factor.js": "export default 2;\nexport const FACTOR = 2;\n"}, "has 'export default 2;'"),
        (
            {"explorer.js": 'import { FACTOR as two } from "./factor.js";\n'},
            "but explorer.js renames FACTOR as two",
        ),
        ({"factor.js": 'import x from "y";\nexport const FACTOR = 2;\n'}, "must import as"),
        (
            {"style.js": 'import { a } from "./gone.js";\nexport const STYLE = "";\n'},
            "imports gone.js, but there is none",
        ),
    ],
)
def test_a_module_that_breaks_a_rule_is_refused(changed, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        joined(MODULES | changed, "explorer.js")


def test_the_explorer_is_one_module():
    text = bundle()
    assert re.findall(r"^export \{ (.*) \};$", text, re.MULTILINE)[0].split(", ").count("mount") == 1
    assert not re.search(r"^(import|export (const|function|class))\b", text, re.MULTILINE)
    assert ".aa-explorer" in text
    assert "http://" not in text.replace("http://www.w3.org/", "")
    assert "https://" not in text


def test_the_explorer_as_one_module_is_read_by_a_javascript_engine(node):
    url = "data:text/javascript;base64," + base64.b64encode(bundle().encode()).decode()
    assert "mount" in run(node, f"console.log(Object.keys(await import({url!r})).join())")


def test_a_script_is_named_by_its_hash_and_cannot_end_its_element():
    text = inline_safe('x = "</script><!--";')
    assert "</script" not in text and "<!--" not in text
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    assert script_hash(text) == f"'sha256-{digest}'"
