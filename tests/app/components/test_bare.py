"""A page that begins anew is as good as one that was opened anew."""

from .page_parts import Part

NEW = "element.textContent = 'new'"
LEFT = """window.alive = [];
const alive = what => window.alive.push(what);
addEventListener('resize', () => alive('window'));
document.addEventListener('keydown', () => alive('document'));
setInterval(() => alive('interval'), 1);
const timeout = () => { alive('timeout'); setTimeout(timeout, 1); };
setTimeout(timeout, 1);
const frame = () => { alive('frame'); requestAnimationFrame(frame); };
requestAnimationFrame(frame);
new MutationObserver(() => alive('mutation')).observe(document, {subtree: true, attributes: true});
new ResizeObserver(() => alive('size')).observe(document.documentElement);
new IntersectionObserver(() => alive('sight')).observe(document.documentElement);
localStorage.past = sessionStorage.past = 'past';
history.replaceState(null, '', '?past');
document.title = 'past';
document.body.dataset.past = document.documentElement.dataset.past = 'past';
element.closest('.workbench').dataset.past = 'past';
"""
EVERYTHING = ["document", "frame", "interval", "mutation", "sight", "size", "timeout", "window"]
SEEN = """async () => {
  window.alive = [];
  dispatchEvent(new Event('resize'));
  document.dispatchEvent(new Event('keydown'));
  const frame = () => new Promise(done => requestAnimationFrame(() => setTimeout(done, 5))), root = document.documentElement;
  for (const display of ['none', '']) {
    root.style.display = display;
    await frame();
  }
  root.removeAttribute('style');
  const data = [root, document.body, document.querySelector('.workbench')].map(node => ({...node.dataset}));
  return [[...new Set(window.alive)].sort(), data, document.title, location.href, localStorage.length, sessionStorage.length];
}"""  # noqa: E501


def test_nothing_of_a_part_is_left_on_a_page_that_begins_anew(bare):
    def seen(script):
        page = bare({"part": Part("old", script, [], {"value": None})}, bench="generate")
        return page.page.evaluate(SEEN)

    new = seen(NEW)
    left = seen(LEFT)
    assert left[0] == EVERYTHING and new[0] == []
    assert all(was != is_ for was, is_ in zip(new[1:], left[1:], strict=True))
    assert seen(NEW) == new
