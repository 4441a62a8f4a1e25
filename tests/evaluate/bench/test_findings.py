"""What follows in words is what the tables say, for results that are kept too."""

import dataclasses

import pytest

from coladlm.assets import ASSETS
from coladlm.evaluate.bench import retell
from coladlm.evaluate.bench.findings import cost, likelihood, long_context, summary
from coladlm.evaluate.bench.findings.points import ALIKE, LOSES, WINS, apart
from coladlm.evaluate.bench.findings.rows import listed, number
from coladlm.evaluate.bench.findings.telling import TELLERS, told
from coladlm.evaluate.bench.intervals import Interval
from coladlm.evaluate.bench.results import Result, ResultError, Table, load

FILES = sorted((ASSETS / "bench").glob("*.json"))


def shipped(part: str) -> Result:
    return load(ASSETS / "bench" / f"{part}.json")


def with_row(result: Result, title: str, name: object, changed: dict[int, object]) -> Result:
    """A result in which cells of a row are others."""
    tables = []
    for table in result.tables:
        rows = [[changed.get(i, cell) if table.title == title and row[0] == name else cell
                 for i, cell in enumerate(row)] for row in table.rows]  # fmt: skip
        tables.append(dataclasses.replace(table, rows=rows))
    return dataclasses.replace(result, tables=tables)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_what_ships_in_words_is_what_its_tables_give(file):
    result = load(file)
    again = told(result)
    assert result.findings and list(again.findings) == list(result.findings)
    assert again.to_json() == file.read_text(encoding="utf-8")


def test_sides_are_apart_where_their_intervals_do_not_meet():
    low, high, wide = Interval(1, 0, 2, 9), Interval(5, 4, 6, 9), Interval(3, 1, 5, 9)
    assert [apart(high, low), apart(low, high), apart(wide, low)] == [WINS, LOSES, ALIKE]
    assert [apart(high, low, less_is_better=True), apart(low, high, less_is_better=True)] == [LOSES, WINS]


def timed(ratios: dict[int, Interval]) -> str:
    """What is told of ending blocks early whose times, alone, are these shares of those of all steps."""
    figures = [
        "k",
        "steps saved, alone, %",
        "tokens changed, %",
        "seconds a text, alone",
        "times those of k = 0, alone",
    ]
    rows = [[k, 1.0, 1.0, Interval(0.3, 0.1, 0.5, 8), ratio] for k, ratio in ratios.items()]
    settled = Table(cost.SETTLED, "", figures, [[0, None, None, Interval(0.3, 0.1, 0.5, 8), None], *rows])
    kept = shipped("cost")
    tables = [settled if table.title == cost.SETTLED else table for table in kept.tables]
    return next(f for f in cost.findings(dataclasses.replace(kept, tables=tables)) if f.startswith("Ending blocks"))


def test_times_are_told_apart_by_pairs_alone_and_not_by_a_few():
    """The seconds' own intervals meet in every row."""
    found = timed({1: Interval(0.9, 0.8, 0.95, 8), 2: Interval(1.1, 0.9, 1.2, 8), 3: Interval(1.2, 1.1, 1.3, 8)})
    assert [f"k = {k}: 0.300 s, {told};" in found for k, told in ((1, "quicker"), (2, ALIKE), (3, "slower"))] == [
        True
    ] * 3
    assert "more than the steps save" in found
    few = timed({1: Interval(0.9, 0.8, 0.95, 5), 3: Interval(1.2, 1.1, 1.3, 5)})
    assert "quicker" not in few and "slower" not in few and "more than the steps save" not in few


def test_a_context_that_is_the_best_and_the_last_is_told_once():
    result = shipped("long")
    table = next(t for t in result.tables if t.title == long_context.CONTEXT)
    short = Table(table.title, table.caption, table.columns, table.rows[:2])
    tables = [short if t is table else t for t in result.tables]
    first, second, *_ = long_context.findings(dataclasses.replace(result, tables=tables))
    assert first.count("after 64 tokens") == 1 and "where it is best" in first
    assert "worse" not in second


def test_the_summary_says_who_wins_and_turns_with_the_tables():
    results = [load(file) for file in FILES]
    found = {paragraph.heading: " ".join(paragraph.sentences) for paragraph in summary.summary(results)}
    assert list(found) == ["Where diffusion wins", "Where it loses", "Not to be told apart", "At what price",
                           "The eight published tasks"]  # fmt: skip
    tasks = found["The eight published tasks"]
    assert "26.75 % right on average of 8; of 6 tasks with choices 0 clearly above chance and 5 clearly below" in tasks
    assert "Length: " in found["At what price"] and "the transformer reads no more than" in found["At what price"]
    told = [text for heading, text in found.items() if heading != "At what price" and "Long context: " in text]
    assert told and all(sum(words in text for text in told) == 1 for words in ("name again", "3-grams", "for a name"))
    assert "43.1 % of sentences turn" in found["Where diffusion wins"]
    assert "Structure: 57.3 %" in found["Where it loses"]
    better = Interval(0.99, 0.98, 1.0, 1800)
    turned = [
        with_row(r, "Exactly right, by task", "all", {1: better}) if r.part == "structured" else r for r in results
    ]
    found = {paragraph.heading: " ".join(paragraph.sentences) for paragraph in summary.summary(turned)}
    assert "Structure: 99.0 %" in found["Where diffusion wins"] and "Structure" not in found["Where it loses"]


def test_a_brier_lm_of_0_is_told_with_its_reason_and_with_the_score_that_makes_it_0():
    """In the words of the figures that ship."""
    result = shipped("likelihood")
    said = next(point.said for point in likelihood.points_of(result) if "as the model ships" in point.said)
    brier = next(table for table in result.tables if table.title == likelihood.BRIER)
    own, other = (
        next(row for row in brier.rows if row[0] == name) for name in (likelihood.OWN, likelihood.TRANSFORMER)
    )
    assert said == (
        f"forecasts by samples as the model ships, BrierLM 0 against {number(other[1])} (the geometric mean of four "
        "scores, which is 0 where one of them is not above 0), and by the lowest of the four, Brier-4, for the next 4 "
        f"tokens together, {number(own[-1])} against {number(other[-1])}"
    )
    assert likelihood.BELOW_ZERO in " ".join(summary.terms([result]))
    first = with_row(result, likelihood.BRIER, likelihood.OWN, {2: Interval(-0.5, -0.6, -0.4, 9), 3: own[2],
                                                                4: own[2], 5: own[2]})  # fmt: skip
    assert any("Brier-1, for the next token, -0.5" in point.said for point in likelihood.points_of(first))


def test_the_summary_of_some_parts_tells_of_these_alone():
    found = summary.summary([shipped("cost")])
    assert [paragraph.heading for paragraph in found] == [
        "Where diffusion wins", "Where it loses", "Not to be told apart", "At what price",
    ]  # fmt: skip
    assert [sentence.split(":")[0] for sentence in found[2].sentences] == ["Fluency"]
    told = "against 37.8 of the transformer's at temperature 1 (0.686 and 0.722 of their 2-grams are distinct)"
    assert len(found[0].sentences) == 1 and told in found[0].sentences[0]
    assert list(found[1].sentences) == ["Nowhere in what was measured."]
    assert "Memory" not in " ".join(found[3].sentences)


def test_findings_are_written_anew_into_the_file(tmp_path, capsys):
    file = tmp_path / "cost.json"
    dataclasses.replace(shipped("cost"), findings=["It is free.", "The judge is somebody."]).save(file)
    assert retell.main([str(file)]) == 0
    again = load(file)
    assert again.findings[0].startswith("As it ships") and again.findings[-1] == "The judge is somebody."
    (tmp_path / "x.json").write_text("{}")
    assert retell.main([str(file), str(tmp_path / "x.json")]) == 2 and "x.json" in capsys.readouterr().err


def test_a_result_without_its_tables_gets_a_sentence():
    for part in TELLERS:
        with pytest.raises(ResultError, match=r"has no table .*, expected one"):
            told(dataclasses.replace(shipped(part), tables=[]))


def test_lists_in_words():
    assert [listed(parts) for parts in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == ["", "a", "a and b", "a, b and c"]
