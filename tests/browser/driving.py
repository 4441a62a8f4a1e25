"""What a visitor does on every tab."""

from playwright.sync_api import Page

STILL_SECONDS = 0.4


def press_run(page: Page, bench: str) -> None:
    """Presses Run of a tab and returns when the page has taken it.

    What the page says from then on is about this run, not about the one before, which may have come to the same end.
    """
    page.evaluate(
        """id => { window.taken = false;
        for (const kind of ['asked', 'run-state'])
          document.getElementById(id).addEventListener(kind, () => { window.taken = true; }, {once: true}); }""",
        bench,
    )
    page.locator(f"#{bench} button.run").click()
    page.wait_for_function("window.taken")


def be_still(page: Page) -> None:
    """Waits until nothing on the page has changed for a moment."""
    page.evaluate(
        """still => new Promise(done => {
        let timer = setTimeout(done, still);
        const changed = () => { clearTimeout(timer); timer = setTimeout(done, still); };
        new MutationObserver(changed).observe(document.body,
          {subtree: true, childList: true, attributes: true, characterData: true});
        })""",
        STILL_SECONDS * 1000,
    )
