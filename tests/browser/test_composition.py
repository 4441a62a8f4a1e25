"""Keys that an input method takes while a word is being composed: no part of the page acts on them."""

from playwright.sync_api import Locator, Page, Request, expect

from .driving import open_tab, press, set_up, state, write

MARKS = ({"isComposing": True}, {"keyCode": 229})  # of a key that is composed; browsers set one of them, or both


def send(field: Locator, kind: str, key: str, **more: object) -> None:
    field.focus()
    field.evaluate(
        "(node, [kind, init]) => node.dispatchEvent(new KeyboardEvent(kind, init))",
        [kind, {"key": key, "bubbles": True, "cancelable": True, **more}],
    )


def runs_started(page: Page) -> list[str]:
    """The addresses of the runs that the page starts from now on, as they come."""
    started: list[str] = []

    def note(request: Request) -> None:
        if request.method == "PUT" and "/runs/" in request.url:
            started.append(request.url)

    page.on("request", note)
    return started


LISTENERS = """() => {
  const heard = [], field = document.querySelector('textarea');
  const told = event => heard.push([event.type, event.isComposing, event.keyCode]);
  for (const type of ['keydown', 'keypress', 'keyup']) {
    window.addEventListener(type, told, true);
    document.addEventListener(type, told);
    for (const init of [{isComposing: true}, {keyCode: 229}, {keyCode: 13}]) {
      field.dispatchEvent(new KeyboardEvent(type, {key: 'x', bubbles: true, ...init}));
    }
    window.removeEventListener(type, told, true);
    document.removeEventListener(type, told);
  }
  return heard;
}"""


def no_listener_hears_a_composed_key(page: Page) -> None:
    once = [
        ["keydown", False, 13],
        ["keypress", False, 229],  # å
        ["keypress", False, 13],
        ["keyup", False, 13],
    ]
    assert page.evaluate(LISTENERS) == [event for event in once for _ in range(2)]


def the_keys_that_run_do_not_run_while_a_word_is_composed(page: Page) -> None:
    set_up(page, "にほん", tokens=5)
    started = runs_started(page)
    prompt = page.get_by_label("Prompt").first
    for mark in MARKS:
        send(prompt, "keydown", "Enter", ctrlKey=True, **mark)  # ours
    # the keyCode of a keypress is that of its character
    send(prompt, "keypress", "Enter", shiftKey=True, isComposing=True)  # gradio's
    set_up(page, tokens=6)  # for a run that is not taken for the same one
    press(page, lambda: send(prompt, "keydown", "Enter", ctrlKey=True))
    state(page, "done")
    assert len(started) == 1
    press(page, lambda: send(prompt, "keypress", "Enter", shiftKey=True))
    state(page, "done")
    assert len(started) == 2


def a_word_of_an_input_method_is_written_and_starts_nothing(page: Page) -> None:
    set_up(page, "", tokens=7)
    started = runs_started(page)
    prompt = page.get_by_label("Prompt").first
    prompt.focus()
    keyboard = page.context.new_cdp_session(page)
    keyboard.send("Input.imeSetComposition", {"text": "にほん", "selectionStart": 3, "selectionEnd": 3})
    key = {"key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 229, "modifiers": 2}
    keyboard.send("Input.dispatchKeyEvent", {"type": "rawKeyDown", **key})
    keyboard.send("Input.insertText", {"text": "日本"})
    keyboard.send("Input.dispatchKeyEvent", {"type": "keyUp", **key, "windowsVirtualKeyCode": 13})
    expect(prompt).to_have_value("日本")
    keyboard.detach()
    set_up(page, tokens=8)  # for a run that is not taken for the same one
    press(page, lambda: prompt.press("Control+Enter"))  # with the word written, the same keys run
    state(page, "done")
    assert len(started) == 1


def enter_keeps_a_name_only_once_it_is_composed(page: Page) -> None:
    page.get_by_role("button", name="History", exact=True).click()
    for mark, name in zip(MARKS, ("よる", "あさ"), strict=True):
        page.get_by_role("button", name="Give a name to").click()
        field = page.get_by_label("Name", exact=True)
        # without the change event that a visitor's leaving would send
        field.evaluate("(node, name) => { node.value = name; }", name)
        send(field, "keydown", "Enter", **mark)
        send(field, "keydown", "Escape", **mark)
        expect(field).to_be_visible()
        send(field, "keydown", "Enter")
        expect(page.locator(".own-history .entry .title")).to_have_text(name)
    page.keyboard.press("Escape")


def enter_starts_a_search_only_once_its_words_are_composed(page: Page) -> None:
    open_tab(page, "Map")
    query, note = page.locator("#texts .query"), page.locator("#texts .note")
    expect(note).to_contain_text("texts in")
    for mark in MARKS:
        send(query, "keydown", "Enter", **mark)
    expect(note).to_contain_text("texts in")
    send(query, "keydown", "Enter")
    expect(note).to_have_text("Write something in the box first.")


def test_a_key_that_a_composed_word_takes_runs_names_and_searches_nothing(visit):
    page = visit()
    no_listener_hears_a_composed_key(page)
    write(page, tokens=4)
    enter_keeps_a_name_only_once_it_is_composed(page)  # while the history has one entry
    the_keys_that_run_do_not_run_while_a_word_is_composed(page)
    a_word_of_an_input_method_is_written_and_starts_nothing(page)
    enter_starts_a_search_only_once_its_words_are_composed(page)
