"""The tab Bench: results as HTML and SVG, those that ship, and how likely a text is."""

import dataclasses
import re
from xml.etree import ElementTree

import pytest

from app.bench.chart_svg import Axis, chart_svg
from app.bench.likelihood import MOST_TOKENS, likelihood_values
from app.bench.result_html import results_html, summary_html
from app.bench.tab import RESULTS, shipped_results
from coladlm import ColaDLM
from coladlm.evaluate.bench.intervals import Interval
from coladlm.evaluate.bench.results import Chart, Line, Result, ResultError, Table
from coladlm.evaluate.text_likelihood import BoundSettings, text_bound

FIGURE = Interval(0.5, 0.25, 0.75, 40)
MARKUP = "<b>&\"'"
CHART = Chart(MARKUP, MARKUP, MARKUP, MARKUP, [Line(MARKUP, [1, 10, 100], [FIGURE] * 3, labels=[MARKUP])], ["x"])
RESULT = Result(MARKUP, MARKUP, MARKUP, {"name": MARKUP, "fingerprint": "abc"}, {"processor": MARKUP, "cores": 2}, 90.0,
                [MARKUP], [Table(MARKUP, MARKUP, [MARKUP, "b"], [[MARKUP, FIGURE], ["c", None]])], [CHART])  # fmt: skip


def test_whatever_a_result_says_is_shown_as_text():
    shown = results_html([RESULT], "abc")
    assert "<b>" not in shown and "&lt;b&gt;&amp;" in shown
    assert "0.500 <small>[0.250, 0.750]</small>" in shown
    bundled = dataclasses.replace(RESULT, model={"name": "bundled", "fingerprint": "abc"})
    for result, loaded, other in ((RESULT, "def", False), (bundled, "abc", False), (bundled, "def", True)):
        assert ("not the model that is loaded now" in results_html([result], loaded)) == other


def test_results_are_folded_and_wide_tables_are_reached_by_keyboard():
    shown = results_html([RESULT, RESULT], None)
    assert len(re.findall(r"<details class='result' id='result-[^']*'>", shown)) == 2
    assert "data-column='b'" in shown  # what a phone shows over the cell
    assert shown.count("tabindex='0' aria-label=") == 2


def test_a_chart_is_well_formed_and_has_every_point_within_its_frame():
    svg, _, legend = chart_svg(CHART).partition("<ul")
    root = ElementTree.fromstring(svg)
    circles = root.findall(".//circle")
    assert len(circles) == 3
    xs = [float(circle.get("cx")) for circle in circles]
    assert xs[1] - xs[0] == pytest.approx(xs[2] - xs[1], abs=0.2)  # a logarithmic axis
    assert all(0 < x < 640 for x in xs) and all(0 < float(circle.get("cy")) < 320 for circle in circles)
    assert "&lt;b&gt;" in legend
    assert chart_svg(dataclasses.replace(CHART, lines=[Line("none", [], [])])) == ""


@pytest.mark.parametrize("values, log, told", [
    ([0, 1], False, [0, 0.2, 0.4, 0.6, 0.8, 1]), ([1, 1000], True, [1, 10, 100, 1000]), ([5, 5], False, None),
    ([3e-7, 4e-7], False, None), ([-2, 8], True, [-2, 0, 2, 4, 6, 8]), ([7.1, 7.2], True, None),
])  # fmt: skip
def test_ticks_are_round_numbers_within_the_axis(values, log, told):
    axis = Axis(values, log, 0, 100)
    ticks = axis.ticks()
    assert told is None or ticks == pytest.approx(told)
    assert 2 <= len(ticks) <= 10
    assert all(-1e-6 <= axis(tick) <= 100 + 1e-6 for tick in ticks)


def test_the_results_that_ship_are_of_the_bundled_model_and_say_what_follows():
    results = shipped_results()
    assert results
    assert {file.stem for file in RESULTS.glob("*.json")} == {result.part for result in results}
    fingerprint = ColaDLM.from_pretrained().fingerprint
    for result in results:
        assert result.findings and result.command.startswith("python -m coladlm bench ")
        assert result.model["name"] != "bundled" or result.model["fingerprint"] == fingerprint, result.part
    assert "not the model that is loaded now" not in results_html(results, fingerprint)


def test_the_summary_has_its_headings_and_what_its_words_mean():
    shown = summary_html(shipped_results())
    headings = ["Where diffusion wins", "Where it loses", "Not to be told apart", "At what price",
                "The eight published tasks"]  # fmt: skip
    assert re.findall(r"<h2>(.*?)</h2>", shown) == headings
    assert "14.4 million parameters beside 5.72 million" in shown
    for word in ("Perplexity:", "Pushed by 1:", "Stagger:", "95 % interval of the difference"):
        assert word in shown.split("class='terms'")[1]


def test_a_command_says_what_its_places_stand_for():
    for result in shipped_results():
        shown = results_html([result], None)
        for place in ("DIR", "JUDGE"):
            assert (f"{place}: a " in shown) == (place in result.command.split())
        assert shown.count("class='copy-command'") == 1


def test_labels_that_would_overlap_are_left_out():
    line = Line("steps", [0.1, 0.15, 0.9], [FIGURE] * 3, labels=["a", "b", "c"])
    other = dataclasses.replace(line, name="guidance", x=[0.15, 0.5, 0.9], labels=["d", "e", "f"])
    shown = chart_svg(Chart("", "", "seconds", "y", [line, other]))
    texts = [text.text for text in ElementTree.fromstring(shown.partition("<ul")[0]).findall(".//{*}g/{*}text")]
    assert texts == ["a", "b", "c", "e"] and "Labels that would overlap are left out" in shown
    crowd = Line("k", [0.50, 0.51, 0.52, 0.53, 0.0, 1.0], [FIGURE] * 6, labels=list("abcdef"))
    shown = chart_svg(Chart("", "", "seconds", "y", [crowd]))
    assert [text.text for text in ElementTree.fromstring(shown.partition("<ul")[0]).findall(".//{*}g/{*}text")] == [
        "e",
        "f",
    ]


def test_the_sizes_that_were_used_stand_along_the_axis():
    sizes = Line("a", [16, 64, 128, 4096], [FIGURE] * 4)
    shown = chart_svg(Chart("", "", "tokens", "y", [sizes], ["x"]))
    assert all(f">{size}</text>" in shown for size in ("16", "64", "128", "4,096"))
    close = Line("a", [1, 2, 1000], [FIGURE] * 3)
    shown = chart_svg(Chart("", "", "tokens", "y", [close]))
    assert ">1</text>" in shown and ">2</text>" not in shown


def test_a_file_that_is_no_result_is_named(tmp_path):
    (tmp_path / "x.json").write_text("[]")
    with pytest.raises(ResultError, match=r"x\.json"):
        shipped_results(tmp_path)


def test_a_text_gets_its_bound_word_by_word(model, scheduler, baseline):
    text = "A <b>cat</b> sat."
    frames = list(likelihood_values(model, scheduler, baseline, text, "tokens"))
    assert frames[0][1]["state"] == "running" and frames[-1][1]["state"] == "idle"
    shown = frames[-1][0]
    words = re.findall(r"<ruby style=[^>]*>(.*?)<rt>([\d.]+)</rt></ruby>", shown)
    assert "".join(word for word, _ in words) == "A &lt;b&gt;cat&lt;/b&gt; sat."
    bound = text_bound(model, text, settings=BoundSettings(draws=16))
    assert [nats for _, nats in words] == [f"{nats:.1f}" for nats in bound.unit_nats.tolist()]
    assert f"{bound.nats:.1f} ± {bound.standard_error:.1f} nats" in shown and "one standard error" in shown


@pytest.mark.parametrize("text", ["", "word " * (MOST_TOKENS + 1), "a" * 10**7, None, 5])
def test_a_text_that_cannot_be_measured_is_refused_in_a_sentence(model, scheduler, baseline, text):
    *_, (shown, line) = likelihood_values(model, scheduler, baseline, text, "tokens")
    assert line["state"] == "error" and "expected" in line["message"]
    assert shown == ""  # what was found of another text goes


def test_a_text_that_is_too_long_for_the_model_hears_of_the_limit_here(model, scheduler, baseline):
    *_, (_, line) = likelihood_values(model, scheduler, baseline, "a b " * (model.max_tokens + 1), "tokens")
    assert f"1 to {MOST_TOKENS} tokens here" in line["message"]


def test_an_order_that_there_is_not_is_refused_in_a_sentence(model, scheduler, baseline):
    *_, (_, line) = likelihood_values(model, scheduler, baseline, "A cat.", "sideways")
    assert line["state"] == "error" and "sideways" in line["message"]
