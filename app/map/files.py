"""The tab Map as files: a page that works without a server, and a table."""

from __future__ import annotations

import csv
import html
import io
from typing import Any

from ..components.text_map import TextMap
from ..shared.encoding import safe_cell
from ..shared.standalone_page import link_to, standalone_page
from .cloud import TextCloud


def text_page(cloud: TextCloud, model: str, address: Any = None) -> bytes:
    """The map as it is looked at as one HTML file, without what needs a server.

    model: the name of the loaded one. address: of the page, for a link, as a browser says.
    """
    whose = f"what the {model} takes it to mean" if cloud.readable else "vectors of another model than the loaded one"
    placed = whose if cloud.model else "vectors that another program made"
    caption = html.escape(f"{cloud.texts.note} Every point is a text, placed by {placed}.")
    link = link_to(address, "?tab=map", "The page it was saved from")
    props = {"value": cloud.value(), "empty_text": "", "start_label": "", "alone": True}
    return standalone_page("Map of texts", f"<p>{caption} {link}</p>", [(TextMap, props)])


def text_table(cloud: TextCloud) -> bytes:
    """A row for every text, as CSV in UTF-8."""
    out = io.StringIO()
    table = csv.writer(out)
    placed = cloud.placed()
    table.writerow(["text", "set", "cluster", "about", *(f"{name}_{axis}" for name in placed for axis in "xy")])
    for i, (text, where, cluster) in enumerate(zip(cloud.texts.texts, cloud.texts.sets, cloud.clusters, strict=True)):
        at = [f"{float(x):.5g}" for points in placed.values() for x in points[i]]
        table.writerow([safe_cell(text), safe_cell(where), int(cluster) + 1, ", ".join(cloud.names[cluster]), *at])
    return out.getvalue().encode()
