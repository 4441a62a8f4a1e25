"""What a visitor does on every tab."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Locator, Page, expect

GRAVE = ("serious", "critical")
CONTRAST = ("color-contrast",)  # half of the time of all rules
STILL_SECONDS = 0.3
# axe-core passes over what is hidden, but walks through all of it first: meanwhile that is not in the document
LOOK = """async ([within, options]) => {
  const folded = [...document.querySelectorAll('details:not([open]) > :not(summary)')];
  const hidden = [...document.body.querySelectorAll('*')].filter(
    box => getComputedStyle(box).display === 'none' && box.parentElement.checkVisibility());
  const taken = [...folded, ...hidden].filter(box => box.firstElementChild).map(box => [box, [...box.childNodes]]);
  for (const [box] of taken) box.replaceChildren();
  try { return (await axe.run(within, options)).violations; }
  finally { for (const [box, inside] of taken) box.replaceChildren(...inside); }
}"""


def press_run(page: Page, bench: str) -> None:
    """Presses Run of a tab and returns when the page has taken it."""
    press(page, page.locator(f"#{bench} button.run").click, bench)


def press(page: Page, start: Callable[[], None], bench: str = "generate") -> None:
    """Does what starts a run of a tab, and returns when the page has taken it.

    What the page says from then on is about this run, not about the one before, which may have come to the same end.
    """
    page.evaluate(
        """id => { window.taken = false;
        document.getElementById(id).addEventListener('run-state', () => { window.taken = true; }, {once: true}); }""",
        bench,
    )
    start()
    page.wait_for_function("window.taken")


def state(page: Page, *wanted: str, bench: str = "generate") -> None:
    """Waits until the run of a tab is in one of the states: at once, where `expect` looks once a second in the end."""
    page.wait_for_function(
        "([bench, wanted]) => wanted.includes(document.getElementById(bench)?.dataset.run)", arg=[bench, wanted]
    )


def run(page: Page, bench: str = "generate") -> str:
    """Presses Run, waits for the end and returns the answer that the tab shows."""
    press_run(page, bench)
    state(page, "done", bench=bench)
    answer = page.locator(".answer").first
    expect(answer.locator(".token").first).to_be_attached()  # the strip may start after the run
    return answer.inner_text()


def set_up(page: Page, prompt: str | None = None, tokens: float | None = None, seed: str | None = None) -> None:
    """Fills in the prompt and the settings of Generate that are named; the settings are unfolded for it."""
    bench = page.locator("#generate")
    if prompt is not None:
        page.get_by_label("Prompt").first.fill(prompt)
    if tokens is not None or seed is not None:
        unfold(bench)
    if tokens is not None:
        number(bench, "New tokens", tokens)
    if seed is not None:
        bench.get_by_label("Seed", exact=True).fill(seed)
        bench.get_by_label("Seed", exact=True).blur()


def unfold(bench: Locator) -> None:
    """Shows all settings of a tab, which are folded below its stage."""
    chip = bench.get_by_role("button", name="All settings")
    chip.wait_for()  # it comes with a script of its own, maybe after the tab is shown
    bench.locator(".setting-list").first.wait_for(state="attached")  # and so does what it unfolds
    if chip.get_attribute("aria-expanded") != "true":
        chip.click()


def number(within: Page | Locator, label: str, value: float) -> None:
    """Fills in the number of a slider, unfolded if it is one of Generate's."""
    box = within.get_by_label(f"number input for {label}", exact=True).first
    page = within if isinstance(within, Page) else within.page
    # once it is there: what is not there yet is hidden as well
    if box.evaluate("box => !box.checkVisibility() && Boolean(box.closest('#generate .setting-list'))"):
        unfold(page.locator("#generate"))
    box.fill(str(value))
    box.blur()


def write(page: Page, prompt: str = "Once upon a time", tokens: int = 12, seed: str = "3") -> str:
    """Runs, and waits until the text can be looked into."""
    set_up(page, prompt, tokens=tokens, seed=seed)
    press_run(page, "generate")
    state(page, "done")
    expect(page.locator("#text .look.ready")).to_have_count(1)
    return page.locator("#text .answer").inner_text()


def open_tab(page: Page, name: str) -> Locator:
    """Opens a tab, which a narrow page keeps in a menu, and returns what is on it."""
    tab = page.get_by_role("tab", name=name, exact=True).first
    in_menu = page.locator("#tabs .overflow-dropdown button", has_text=name)
    expect(tab.or_(in_menu).first).to_be_attached()
    frames(page)  # gradio puts a tab into the menu or takes it out a frame after it has shown another one
    if in_menu.count():
        page.locator("#tabs .overflow-menu > button").click()
        in_menu.click()
    else:
        tab.click()
    bench = page.locator(f"#{name.lower()}")
    expect(bench).to_be_visible()
    frames(page)  # what is on a tab that is shown for the first time gets its values once more, a frame later
    return bench


def frames(page: Page) -> None:
    """Waits until the page has drawn what has come, and what it put off to its next frame."""
    page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")


def is_no_wider(page: Page) -> None:
    """Waits until the page is no wider than its window, and fails where it stays so. Gradio's container cuts off what
    is too wide, so the document alone never is.
    """
    page.wait_for_function(
        """[document.documentElement, document.querySelector('.gradio-container')]
          .every(box => !box || box.scrollWidth <= box.clientWidth)"""
    )


def shifted(page: Page) -> float:
    """How far what stands on the page has moved by itself since it was opened: the sum of its layout shifts."""
    return page.evaluate(
        """() => new Promise(done => new PerformanceObserver(list => done(list.getEntries()
          .filter(entry => !entry.hadRecentInput).reduce((sum, entry) => sum + entry.value, 0)))
          .observe({type: 'layout-shift', buffered: true}) || setTimeout(() => done(0), 100))"""
    )


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


def grave_violations(
    page: Page, rules: Sequence[str] = (), without: Sequence[str] = (), within: str = "html"
) -> list[str]:
    """Each serious finding of axe-core with the first places that it names. rules: the names of these alone.
    without: of those that are left out. within: a selector of what is looked at.
    """
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE_SCRIPT)
    options = {"resultTypes": ["violations"], "preload": False}  # no rule in use wants the style sheets
    if rules:
        options |= {"runOnly": {"type": "rule", "values": list(rules)}}
    options["rules"] = {name: {"enabled": False} for name in without}
    found = page.evaluate(LOOK, [within, options])
    return [
        f"{rule['id']}: {[node['html'][:160] for node in rule['nodes'][:4]]}"
        for rule in found
        if rule["impact"] in GRAVE
    ]


def fits(page: Page) -> None:
    """Fails where a narrow page is wider than its window, or has a serious violation; colours are the wide one's."""
    is_no_wider(page)
    found = grave_violations(page, without=CONTRAST)
    assert not found, found  # pytest does not say what it was in a file that is no test
