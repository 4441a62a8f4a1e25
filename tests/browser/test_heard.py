"""What counts as wrong on a page in these tests: errors of a page that lives, and none of a page that is left."""

import pytest
from playwright.sync_api import Page

from .heard import Heard

ADDRESS = "http://127.0.0.1/page"  # answered by the test itself
FAILS = "setTimeout(() => { throw new Error('broken') })"
SAYS = "console.error('broken')"
# as gradio's client does: what was under way is broken off, and its end reported, while the document still runs
BREAKS_OFF = """addEventListener('beforeunload', () => {
  console.error('broken');
  Promise.reject(new Error('broken'));
  for (const until = Date.now() + 50; Date.now() < until;);
})"""


@pytest.fixture(scope="module")
def listener(browser):
    """One page for all tests, the last of which closes it: to open a page takes longer than what they do there."""
    with browser.new_context() as context:
        page = context.new_page()
        page.route("**/*", lambda route: route.fulfill(body="<title>page</title>", content_type="text/html"))
        yield Heard(page)


@pytest.fixture
def heard(listener) -> Heard:
    listener.page.goto("about:blank")
    listener.begin()
    listener.page.goto(ADDRESS)
    return listener


@pytest.fixture
def page(heard) -> Page:
    return heard.page


def let_it_fail(page: Page) -> None:
    page.evaluate(f"() => new Promise(done => {{ {FAILS}; setTimeout(done); }})")


def test_nothing_is_wrong_with_a_quiet_page(heard):
    assert heard.wrong() == []


def test_an_error_of_a_page_is_wrong(page, heard):
    let_it_fail(page)
    page.evaluate(SAYS)
    assert [what.splitlines()[0] for what in heard.wrong()] == ["broken", "broken"]


def test_a_request_to_another_host_is_wrong(page, heard):
    page.evaluate("fetch('http://elsewhere.test/x', {mode: 'no-cors'})")
    assert heard.wrong() == ["asked http://elsewhere.test/x"]


@pytest.mark.parametrize("leave", [Page.reload, lambda page: page.goto(ADDRESS + "?next")], ids=["reload", "goto"])
def test_what_a_page_utters_while_it_is_left_is_not_wrong_and_what_the_next_one_utters_is(page, heard, leave):
    page.evaluate(BREAKS_OFF)
    leave(page)
    assert heard.wrong() == []
    let_it_fail(page)
    assert len(heard.wrong()) == 1


def test_what_a_page_uttered_before_it_was_left_is_wrong(page, heard):
    let_it_fail(page)
    page.reload()
    assert len(heard.wrong()) == 1


def test_what_a_page_utters_is_wrong_if_nobody_left_it_in_the_end(page, heard):
    page.evaluate("dispatchEvent(new Event('beforeunload'))")
    page.evaluate("history.replaceState(null, '', '?same')")
    let_it_fail(page)
    assert len(heard.wrong()) == 1


def test_what_a_page_utters_while_it_closes_is_not_wrong(page, heard):
    page.evaluate(BREAKS_OFF)
    with page.expect_event("close"):
        page.close(run_before_unload=True)
    assert heard.wrong() == []
