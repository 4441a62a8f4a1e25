"""Components as one HTML file that plays without a server or a network."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from ..components.own_html import OwnHTML
from ..components.plotly_html import PLOTLY_JS
from ..theme import CSS
from .encoding import compact


def standalone_page(title: str, parts: Sequence[tuple[type[OwnHTML], dict[str, Any]]]) -> bytes:
    """Components with their props as one HTML file that asks nobody for anything."""
    colours = "\n".join(re.findall(r"^(?::root|\.dark) \{.*?^\}", CSS.read_text(encoding="utf-8"), re.M | re.S))
    body, scripts, styles = [], [], []
    for kind, props in parts:
        html, css = kind.source("html"), kind.source("css")
        body.append(f"<div id='{kind.FILE}'>{html}</div>")
        styles.append(f"#{kind.FILE} {{ {css} }}")
        scripts.append(
            f"(function (element, props, trigger, watch) {{\n{kind.script()}\n}})"
            f"(document.getElementById('{kind.FILE}'), {_in_script(props)}, () => {{}}, () => {{}});"
        )
    page = PAGE.format(
        title=title, colours=colours, styles="\n".join(styles), body="\n".join(body),
        plotly=PLOTLY_JS.read_text(encoding="utf-8"), scripts="\n".join(scripts),
    )  # fmt: skip
    return page.encode()


def _in_script(data: object) -> str:
    """JSON that can stand in a script element: no text of it ends the element."""
    return (
        compact(json.loads(json.dumps(data)))
        .replace("<", "\\u003c")
        .replace("\u2028", "\\u2028")
        .replace("\u2029", "\\u2029")
    )


PAGE = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title} - Cola-DLM Explorer</title>
<style>
{colours}
:root {{ --font: "Source Sans 3", ui-sans-serif, system-ui, sans-serif; --font-text: Lora, Georgia, serif; }}
body {{ max-width: 1080px; margin: 0 auto; padding: 24px; background: var(--sheet); color: var(--ink); }}
body {{ font-family: var(--font); }}
#heat_map, #curves {{ margin-top: 24px; }}
#flow_map, #text_map {{ border: 1px solid var(--line); border-radius: 10px; overflow: hidden; }}
{styles}
</style></head>
<body>
{body}
<script>{plotly}</script>
<script>
{scripts}
</script>
</body></html>
"""
