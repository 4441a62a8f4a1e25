"""A browser that keeps neither cookies nor storage, and the page at rest in it."""

import json

from playwright.sync_api import Page, expect

from .driving_runs import SHORT, came_to, link, press, shows, written
from .heard import Heard

COUNT_FRAMES = """const request = window.requestAnimationFrame;
window.frames_asked = 0;
window.requestAnimationFrame = callback => { window.frames_asked += 1; return request.call(window, callback); };"""


def comes_to_rest(page: Page) -> None:
    """Waits until the page asks for no frame between two looks; one that goes on asking never comes to an end."""
    page.wait_for_function(
        "() => { const seen = window.seen; window.seen = window.frames_asked; return seen === window.seen; }"
    )


def test_the_page_works_in_a_browser_that_keeps_nothing(playwright, chromium, server, model, tmp_path):
    (tmp_path / "Default").mkdir()
    blocked = {"profile": {"default_content_setting_values": {"cookies": 2}}}
    (tmp_path / "Default" / "Preferences").write_text(json.dumps(blocked))
    with playwright.chromium.launch_persistent_context(
        tmp_path, executable_path=chromium, args=["--no-sandbox"], reduced_motion="reduce"
    ) as context:
        page = context.new_page()
        heard = Heard(page)
        page.add_init_script(COUNT_FRAMES)
        page.goto(server + "/" + link(SHORT))
        expect(page.locator("#generate .own-progress_line .note").first).to_contain_text("Restored from the link")
        assert page.evaluate("(() => { try { return String(localStorage); } catch (e) { return e.name; } })()") == (
            "SecurityError"
        )
        assert context.cookies() == []
        press(page, "run")
        came_to(page, "done")
        shows(page, written(model))
        expect(page.locator(".own-history .note")).to_contain_text("stores nothing")
        page.locator("#text .answer .token").nth(3).dispatch_event("click")  # a random model's may take no room
        expect(page.locator("#token")).to_contain_text("Chosen with")
        comes_to_rest(page)  # last: what turned while the page was put together goes on for seconds after it has gone
        assert heard.wrong() == []
