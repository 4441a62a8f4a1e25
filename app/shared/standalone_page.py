"""Components as one HTML file that plays without a server or a network, light or dark as its reader has it."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from ..components.own_html import OwnHTML
from ..components.plotly_html import PLOTLY_JS
from ..theme import CSS, embedded_fonts
from .encoding import compact

MOST_ADDRESS = 2000  # characters


def link_to(address: Any, query: str, text: str) -> str:
    """A link, as HTML, to the page that a file was saved from; "" where a browser sent no address of one."""
    if not isinstance(address, str) or len(address) > MOST_ADDRESS:
        return ""
    try:
        known = urlsplit(address).scheme in ("http", "https")
    except ValueError:
        known = False
    whole = address.split("?")[0].split("#")[0] + query
    return f'<a href="{html.escape(whole)}">{html.escape(text)}</a>' if known else ""


def standalone_page(title: str, caption: str, parts: Sequence[tuple[type[OwnHTML], dict[str, Any]]]) -> bytes:
    """Components with their props as one HTML file that asks nobody for anything.

    title: plain text. caption: what it shows and how it was made, as HTML.
    """
    colours = "\n".join(re.findall(r"^(?::root|\.dark) \{.*?^\}", CSS.read_text(encoding="utf-8"), re.M | re.S))
    body, scripts, styles = [], [], []
    for kind, props in parts:
        markup, css = kind.source("html"), kind.source("css")
        body.append(f"<div id='{kind.FILE}'>{markup}</div>")
        styles.append(f"#{kind.FILE} {{ {css} }}")
        scripts.append(
            f"(function (element, props, trigger, watch) {{\n{kind.script()}\n}})"
            f"(document.getElementById('{kind.FILE}'), {_in_script(props)}, () => {{}}, () => {{}});"
        )
    page = PAGE.format(
        title=html.escape(title), caption=caption, fonts=embedded_fonts(), colours=colours,
        styles="\n".join(styles), body="\n".join(body),
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
<meta name="color-scheme" content="light dark">
<title>{title} - Cola-DLM Explorer</title>
<style>
{fonts}
{colours}
:root {{ --font: "Source Sans Pro", ui-sans-serif, system-ui, sans-serif; }}
body {{ max-width: 1080px; margin: 0 auto; padding: 24px; background: var(--sheet); color: var(--ink); }}
body {{ font: 400 1rem/1.5 var(--font); }}
h1 {{ margin: 0 0 4px; font: 700 1.5rem/1.3 var(--font); }}
.caption {{ max-width: 46rem; margin: 0 0 20px; color: var(--ink-muted); overflow-wrap: anywhere; }}
.caption p {{ margin: 4px 0; }}
.caption q {{ color: var(--ink); unicode-bidi: isolate; }}
.caption a {{ color: var(--accent); white-space: nowrap; }}
#heat_map, #curves {{ margin-top: 24px; }}
#flow_map, #text_map {{ border: 1px solid var(--line); border-radius: 10px; overflow: hidden; }}
{styles}
</style></head>
<body>
<script>
{{
  const dark = matchMedia('(prefers-color-scheme: dark)');
  const wear = () => document.body.classList.toggle('dark', dark.matches);
  dark.addEventListener('change', wear);
  wear();
}}
</script>
<h1>{title}</h1>
<div class="caption">{caption}</div>
{body}
<script>{plotly}</script>
<script>
{scripts}
</script>
</body></html>
"""
