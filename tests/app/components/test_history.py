"""What a visitor has run: kept in the browser alone, in order, and in files; and the link and the file of one run."""

import functools
import json

import pytest
from playwright.sync_api import expect

from app.shared.links import link_of
from coladlm import ColaDLM, SamplerSettings
from coladlm.recipe import Recipe
from coladlm.run import run

from .values import Generated, link

SETTINGS = SamplerSettings(steps=3, max_new_tokens=8)


@pytest.fixture
def desk(parts, bare):
    """desk() shows the history beside a link and a text in their workbench, as on the page."""

    def show(**options):
        shown = {
            "history": parts.part("history"),
            "link": parts.part("link", "generate"),
            "progress": parts.part("progress", "generate"),
            "text": parts.part("strip"),
        }
        return bare(shown, bench="generate", **options)

    return show


@pytest.fixture(scope="module")
def ran(model):
    """ran(page, prompt) lets the page take what a finished run sends."""
    run_of = functools.cache(lambda prompt: Generated(model, prompt, max_new_tokens=8))

    def send(page, prompt: str) -> Generated:
        generated = run_of(prompt)
        page.update("link", generated.link)
        page.update("text", generated.strips[-1])
        for value in generated.progress[-2:]:
            page.frame("progress", value)
        page.page.wait_for_function(
            "text => JSON.parse(localStorage['coladlm-history'])[0].result === text", arg=answer(generated)
        )
        return generated

    return send


def answer(generated: Generated) -> str:
    lines = [json.loads(line) for line in generated.strips[-1]["settled"].splitlines()]
    return "".join("∎" if special else text for line in lines for text, _, special in line).strip()[:300]


def sheet(page):
    page.page.get_by_role("button", name="History", exact=True).click()
    return page.locator("dialog[open]")


def titles(page):
    return page.locator("dialog[open] .title")


def test_runs_are_listed_newest_first_with_their_texts_and_survive_a_reload(desk, ran):
    page = desk()
    texts = [answer(ran(page, prompt)) for prompt in ("A cat 🐈 <b>sat</b>", "The moon")]
    page.open()
    sheet(page)
    expect(titles(page)).to_have_text(["The moon", "A cat 🐈 <b>sat</b>"])
    assert titles(page).locator("b").count() == 0
    assert [text.strip() for text in page.locator("dialog[open] .result").all_text_contents()] == texts[::-1]


def test_the_same_run_twice_stands_there_once(desk, ran):
    page = desk()
    for prompt in ("The moon", "A cat", "The moon"):
        ran(page, prompt)
    sheet(page)
    expect(titles(page)).to_have_text(["The moon", "A cat"])


def test_runs_are_searched_pinned_named_and_deleted(desk, ran):
    page = desk()
    for prompt in ("A cat", "The moon"):
        ran(page, prompt)
    open_sheet = sheet(page)
    open_sheet.get_by_label("Search the history").fill("moon")
    expect(titles(page)).to_have_text(["The moon"])
    open_sheet.get_by_label("Search the history").fill("")
    open_sheet.get_by_role("button", name="Pin: A cat").click()
    expect(titles(page)).to_have_text(["A cat", "The moon"])
    open_sheet.get_by_role("button", name="Give a name to: The moon").click()
    open_sheet.get_by_label("Name", exact=True).fill("night")
    page.page.keyboard.press("Enter")
    expect(titles(page)).to_have_text(["A cat", "night"])
    for name in ("A cat", "night"):
        open_sheet.get_by_role("button", name=f"Delete: {name}").click()
    expect(open_sheet.locator(".none")).to_contain_text("Nothing yet")


def test_a_history_is_exported_and_opens_again(desk, ran, tmp_path):
    page = desk()
    recipe = json.loads(ran(page, "The moon").link["recipe"])
    ran(page, "A cat")
    file = page.save(sheet(page).get_by_role("button", name="Export all"), tmp_path)
    for name in ("A cat", "The moon"):
        page.page.get_by_role("button", name=f"Delete: {name}").click()
    page.locator("input[type=file]").set_input_files(file)
    expect(page.locator("dialog[open] .outcome")).to_contain_text("2 added")
    expect(titles(page)).to_have_text(["A cat", "The moon"])
    page.page.get_by_role("button", name="Open: The moon").click()
    expect(page.locator("dialog[open]")).to_have_count(0)
    (opened,) = page.triggered("history", "open_generate")
    assert json.loads(opened["recipe"]) == recipe


def test_a_recipe_file_opens_on_its_tab(desk, ran, tmp_path):
    page = desk()
    recipe = ran(page, "The moon").link["recipe"]
    file = page.save(page.page.get_by_role("button", name="Save recipe"), tmp_path)
    sheet(page)
    page.locator("input[type=file]").set_input_files(file)
    expect(page.locator("dialog[open]")).to_have_count(0)
    (opened,) = page.triggered("history", "open_generate")
    assert json.loads(opened["recipe"]) == json.loads(recipe)


def test_a_recipe_file_reaches_the_server_as_it_stands(desk, tmp_path):
    """Its seed is one more than the largest whole number that a browser can hold."""
    page, file = desk(), tmp_path / "recipe.json"
    file.write_text('{"operation": "generate", "texts": ["A"], "settings": {"seed": 9007199254740993}}')
    sheet(page)
    page.locator("input[type=file]").set_input_files(file)
    expect(page.locator("dialog[open]")).to_have_count(0)
    (opened,) = page.triggered("history", "open_generate")
    assert opened["recipe"] == file.read_text()


def test_a_run_of_another_model_is_said_to_be_one(desk):
    page = desk()
    page.update("link", link("The moon", "another"))
    sheet(page)
    expect(page.locator("dialog[open] .entry")).to_contain_text("Made with another model")


FULL = "() => { Storage.prototype.setItem = () => { throw new DOMException('', 'QuotaExceededError'); }; }"
DENIED = """() => { Object.defineProperty(window, 'localStorage', {configurable: true,
  get() { throw new DOMException('', 'SecurityError'); }}); }"""


@pytest.mark.parametrize(
    "storage, sentence", [(FULL, "storage is full"), (DENIED, "stores nothing")], ids=["full", "denied"]
)
def test_a_history_that_the_browser_does_not_keep_says_so_and_lasts_as_long_as_the_page(desk, ran, storage, sentence):
    page = desk()
    ran(page, "The sun")
    expect(page.locator("#history .note")).to_have_text("")
    page.spoiled = True
    page.page.evaluate(storage)
    for prompt in ("The moon", "A cat"):
        page.update("link", link(prompt))
        expect(page.locator("#history .note")).to_contain_text(sentence)
    expect(page.locator("#history .note")).to_contain_text("until this page is closed")
    sheet(page)
    expect(titles(page).nth(0)).to_have_text("A cat")
    expect(titles(page).nth(1)).to_have_text("The moon")
    page.page.get_by_role("button", name="Open: The moon").click()
    (opened,) = page.triggered("history", "open_generate")
    assert opened["source"] == "history"


def test_a_full_storage_lets_the_oldest_entries_go_and_says_how_many(desk):
    page = desk()
    for prompt in ("A sun", "A cat", "A fox"):
        page.update("link", link(prompt))
        page.page.wait_for_function("prompt => localStorage['coladlm-history']?.includes(prompt)", arg=prompt)
    page.spoiled = True
    page.page.evaluate(
        """() => { const room = localStorage['coladlm-history'].length + 20, set = Storage.prototype.setItem;
        Storage.prototype.setItem = function (key, value) {
          if (value.length > room) throw new DOMException('', 'QuotaExceededError');
          set.call(this, key, value);
        }; }"""
    )
    page.update("link", link("A dog"))
    expect(page.locator("#history .note")).to_contain_text("Entries let go, the oldest first: 1.")
    sheet(page)
    expect(titles(page)).to_have_text(["A dog", "A fox", "A cat"])


def test_a_run_that_is_too_long_for_the_history_says_so(desk):
    page = desk()
    page.update("link", link("word " * 12_000))
    expect(page.locator("#history .note")).to_contain_text("too long for the history")


@pytest.mark.parametrize("content", ["no json", "[]", '{"history": 3}', '{"operation": 1, "texts": []}'])
def test_a_file_that_is_no_recipe_gets_a_sentence(desk, tmp_path, content):
    (tmp_path / "file.json").write_text(content)
    page = desk()
    sheet(page)
    page.locator("input[type=file]").set_input_files(tmp_path / "file.json")
    expect(page.locator("dialog[open] .outcome")).to_contain_text("The file")
    assert page.triggered("history") == []


def test_the_address_holds_the_recipe_and_is_copied(desk, ran):
    page = desk(clipboard=True)
    copy = page.page.get_by_role("button", name="Copy link")
    expect(copy).to_be_disabled()
    query = ran(page, "The moon 🌙").link["query"]
    assert page.page.url == f"{page.server.address}{query}&tab=generate"
    copy.click()
    expect(page.page.get_by_text("Copied")).to_be_visible()
    assert page.page.evaluate("navigator.clipboard.readText()") == page.page.url


@pytest.mark.parametrize(
    "recipe",
    [
        Recipe("generate", ("He said: \"the moon 🌙\\n'",), SETTINGS, 2),
        Recipe(
            "interpolate",
            ("The sun was warm.", "It was cold."),
            SETTINGS,
            1,
            {"road": "decoder_only", "stops": 3},
        ),
    ],
    ids=["generate", "interpolate"],
)
def test_a_script_is_copied_that_gives_the_texts_of_the_run(desk, model, recipe, monkeypatch, capsys):
    page = desk(clipboard=True)
    page.update("link", link_of(recipe))
    page.page.get_by_role("button", name="Copy as Python").click()
    expect(page.page.get_by_text("Copied")).to_be_visible()
    script = page.page.evaluate("navigator.clipboard.readText()")
    monkeypatch.setattr(ColaDLM, "from_pretrained", lambda: model)
    exec(script, {})
    texts = []
    for event in run(model, recipe):
        texts = getattr(event, "texts", texts)
    assert texts and capsys.readouterr().out == "The model of the recipe.\n" + "\n\n".join(texts) + "\n"


def test_a_prompt_that_no_link_holds_says_so_and_is_saved_all_the_same(desk, tmp_path):
    page = desk()
    value = link(" ".join(str(7919 * i) for i in range(3_000)))
    assert value["query"] == ""
    page.update("link", value)
    expect(page.locator("#link .outcome")).to_contain_text("too long for a link")
    expect(page.page.get_by_role("button", name="Copy link")).to_be_disabled()
    saved = page.save(page.page.get_by_role("button", name="Save recipe"), tmp_path)
    assert json.loads(saved.read_text()) == json.loads(value["recipe"])
