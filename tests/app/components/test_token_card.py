"""The card of a word: what else it could have been, as the tab says it."""

from playwright.sync_api import expect

from .values import Generated


def test_a_card_says_how_a_word_was_chosen_and_closes_by_keyboard(parts, bare, model):
    generated = Generated(model, "Once upon a time")
    first, second = (generated.card(**generated.tokens[i]) for i in (1, 7))
    page = bare({"token": parts.part("token")}, bench="generate")
    expect(page.locator("#token .card")).to_be_hidden()
    page.update("token", first)
    expect(page.locator("#token .tells")).to_contain_text("Chosen with")
    expect(page.locator("#token .read tr.chosen")).to_have_count(1)
    expect(page.locator("#token .read tr")).to_have_count(len(first["read"]))
    expect(page.locator("#token .title")).to_be_focused()
    where = page.locator("#token .where").inner_text()
    page.update("token", second)
    expect(page.locator("#token .where")).not_to_have_text(where)
    page.page.get_by_role("button", name="See its path").click()
    assert page.told("token", "select") == [{"point": second["point"]}]
    page.locator("#token .title").focus()
    page.page.keyboard.press("Escape")
    expect(page.locator("#token .card")).to_be_hidden()
    assert page.value("token") is None


def test_an_answer_that_comes_after_a_newer_one_is_dropped(parts, bare, model):
    generated = Generated(model, "Once upon a time")
    older, newer = ({**generated.card(**generated.tokens[i]), "asked": i} for i in (1, 7))
    page = bare({"token": parts.part("token")}, bench="generate")
    page.update("token", newer)
    expect(page.locator("#token .where")).to_have_text(newer["where"])
    page.update("token", older)
    expect(page.locator("#token .where")).to_have_text(newer["where"])
    assert page.value("token")["point"] == newer["point"]


def test_an_answer_that_comes_after_another_run_has_begun_is_dropped(parts, bare, model):
    generated = Generated(model, "Once upon a time")
    page = bare({"token": parts.part("token")}, bench="generate")
    asked = page.page.evaluate("performance.now()")
    page.run_state("starting")
    page.update("token", {**generated.card(**generated.tokens[1]), "asked": asked})
    expect(page.locator("#token .card")).to_be_hidden()
    assert page.value("token") is None
