"""A browser that translates the page leaves the words of the model and of the visitor as they are."""

import pytest

from app.components.point_card import card_value
from app.components.text_grid import grid_value
from app.components.text_rows import row_value, rows_value
from app.components.token_strip import Token, settled_line, strip_value

from .values import Texts, picked

WORD = "Zauberwort"
OPEN_TO_TRANSLATION = """([name, word]) => {
  const found = [], walker = document.createTreeWalker(document.querySelector('#' + name), NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) if (walker.currentNode.data.includes(word)) found.push(walker.currentNode);
  return [found.length, found.filter(text => text.parentElement.translate).map(text => text.data)];
}"""


def words_are_kept(page, name: str, word: str = WORD) -> None:
    """Checks every place of a part that shows the word; there is at least one."""
    count, wrong = page.page.evaluate(OPEN_TO_TRANSLATION, [name, word])
    assert count > 0 and wrong == []


TOKEN_CARD = {
    "title": WORD, "where": "token 1 of block 1",
    "note": f"Its logit is 2.0 nats above that of “{WORD}”: fairly clear.",
    "read": [[WORD, 0.7, 1]], "latent": [0.5], "size": "1.00", "point": [0, 0],
}  # fmt: skip
VALUES = {
    "grid": grid_value("done", WORD, [WORD], ["Guidance 1"], ["Steps 4"], [(WORD, "4 tokens", {}, WORD)], "sheets"),
    "point": card_value("Block 1, place 1", f"The clean estimate reads “{WORD}”.", [(WORD, "70.0%")], [(WORD, "1.2")]),
    "rows": rows_value("r", "done", [row_value("no. 1", WORD, "", tail=WORD, final=[(WORD, 0)], text=WORD)]),
    "strip": strip_value("r", "done", WORD, settled_line([Token(WORD, 0.9)]), [Token(WORD, 0.5)]),
    "token": TOKEN_CARD,
}


@pytest.mark.parametrize("kind", VALUES)
def test_words_of_a_result_are_not_translated(parts, bare, kind):
    page = bare({kind: parts.part(kind)}, bench="generate")
    page.update(kind, VALUES[kind])
    page.page.wait_for_function(
        "([name, word]) => document.querySelector('#' + name).textContent.includes(word)", arg=[kind, WORD]
    )
    words_are_kept(page, kind)


def test_the_pages_own_words_beside_them_are_translated(parts, bare):
    page = bare({"grid": parts.part("grid", value=VALUES["grid"]), "token": parts.part("token", value=TOKEN_CARD)})
    for words in (".use", ".tells", "thead th", "tbody th"):
        assert page.locator(f"#grid {words}").evaluate("node => node.translate"), words
    assert page.locator("#token .tells").evaluate("node => node.translate")


def test_words_of_the_history_are_not_translated(parts, bare):
    page = bare({"history": parts.part("history")})
    entry = {"recipe": {"operation": "generate", "texts": [WORD], "settings": {}}, "tab": "generate", "result": WORD}
    page.page.evaluate(
        "detail => window.dispatchEvent(new CustomEvent('coladlm-ran', {detail}))", {**entry, "id": "one"}
    )
    page.page.get_by_role("button", name="History", exact=True).click()
    words_are_kept(page, "history")


def test_words_of_the_picker_are_not_translated(parts, bare, model):
    page = bare({"picker": parts.part("picker", "edit")})
    page.update("picker", picked(model, WORD))
    page.locator("#picker .token").first.wait_for()
    words_are_kept(page, "picker", page.locator("#picker .token").first.inner_text())


def test_texts_of_the_map_are_not_translated(parts, bare, bundled, tmp_path):
    file = tmp_path / "mine.txt"
    file.write_text("\n".join(f"{WORD} {i}" for i in range(8)))
    texts = Texts(bundled, file)
    page = bare({"texts": parts.part("map", value=texts.near(WORD))})
    page.page.wait_for_function("document.querySelector('#texts .plot').layout?.annotations")
    words_are_kept(page, "texts")
    page.locator("#texts .query").fill(WORD)
    page.page.get_by_text(f"8 texts have “{WORD}”").wait_for()
    words_are_kept(page, "texts")


def test_words_beside_the_flow_map_are_not_translated(parts, bare, flows):
    shown = flows.shown(*flows.recorded[1:2])  # in which one word settled last
    tab = {"flow": parts.part("flow", cloud=flows.cloud, value=shown.flow), "heat": parts.part("heat")}
    page = bare(tab, bench="trajectories")
    page.locator("#heat .row").first.click()
    for place in ("#flow .which", "#heat .about"):
        quoted = page.locator(f"{place} bdi").all()
        assert quoted, place
        assert not any(words.evaluate("words => words.translate") for words in quoted), place
        assert "“" not in "".join(words.inner_text() for words in quoted), place
