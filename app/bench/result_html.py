"""A result of the bench as HTML: what follows from it, its tables and charts, and the command that makes it anew."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

from coladlm.evaluate.bench.intervals import Interval
from coladlm.evaluate.bench.results import Cell, Chart, Result, Table, figure_of

from .chart_svg import chart_svg

BUNDLED = "bundled"  # how results call the model that ships


def results_html(results: Sequence[Result], fingerprint: str | None) -> str:
    """All results, each to unfold, the first open. fingerprint: of the model that is loaded."""
    return "".join(_result(result, fingerprint, number == 0) for number, result in enumerate(results))


def _result(result: Result, fingerprint: str | None, is_open: bool) -> str:
    findings = "".join(f"<li>{html.escape(finding)}</li>" for finding in result.findings)
    parts = [f"<ul class='findings'>{findings}</ul>" if findings else ""]
    parts += [chart_html(chart) for chart in result.charts] + [table_html(table) for table in result.tables]
    parts.append(f"<p class='made'>{html.escape(_made(result, fingerprint))}</p>")
    parts.append(f"<pre class='command' tabindex='0'><code>{html.escape(result.command)}</code></pre>")
    return (
        f"<details class='result' id='bench-{html.escape(result.part, quote=True)}'{' open' * is_open}>"
        f"<summary>{html.escape(result.title)}</summary>{''.join(parts)}</details>"
    )


def _made(result: Result, fingerprint: str | None) -> str:
    """Of what the figures are, and what they were measured on."""
    machine, model = result.machine, result.model
    where = [str(machine[key]) for key in ("accelerator", "processor") if machine.get(key)][:1]
    if machine.get("cores"):
        where.append(f"{machine['cores']} cores")
    whose = _whose(model)
    other = ", which is not the model that is loaded now" if _is_other(model, fingerprint) else ""
    return f"Measured on {whose}{other}; {', '.join(where)}; {_duration(result.seconds)}. Made anew by:"


def _whose(model: Mapping[str, Any]) -> str:
    name = str(model.get("name") or "a model without a name")
    return "the bundled model" if name == BUNDLED else name


def _is_other(model: Mapping[str, Any], fingerprint: str | None) -> bool:
    return model.get("name") == BUNDLED and model.get("fingerprint") != fingerprint


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def table_html(table: Table) -> str:
    """A table that is scrolled sideways where it is wider than the page."""
    title = html.escape(table.title)
    head = "".join(f"<th scope='col'>{html.escape(column)}</th>" for column in table.columns)
    rows = "".join(
        f"<tr><th scope='row'>{_cell(row[0])}</th>{''.join(f'<td>{_cell(cell)}</td>' for cell in row[1:])}</tr>"
        for row in table.rows
        if row
    )
    name = html.escape(table.title, quote=True)
    return (
        f"<h3>{title}</h3><p class='caption'>{html.escape(table.caption)}</p>"
        f"<div class='wide' role='region' tabindex='0' aria-label='{name}'>"
        f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _cell(cell: Cell) -> str:
    text = figure_of(cell)
    if isinstance(cell, Interval):
        value, _, ends = text.partition(" ")
        return f"{html.escape(value)} <small>{html.escape(ends)}</small>"
    return html.escape(text)


def chart_html(chart: Chart) -> str:
    """A chart with its title and caption."""
    return (
        f"<figure><figcaption><h3>{html.escape(chart.title)}</h3><p class='caption'>{html.escape(chart.caption)}</p>"
        f"</figcaption>{chart_svg(chart)}</figure>"
    )
