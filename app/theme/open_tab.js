// The tab that is open stands in the address, behind #: a reload opens it again, and Back goes to the tab before. The rest
// of the address is that of the latest run, wherever Back has led.

function followTabs(window) {
  const {document, history, location} = window;
  const all = ['[role="tab"]', '.overflow-dropdown button'].map(one => '#tabs > .tab-wrapper ' + one).join();
  const buttons = () => [...document.querySelectorAll(all)];
  const nameOf = button => button.textContent.trim().toLowerCase();
  const buttonOf = name => buttons().find(button => nameOf(button) === name);
  let acted = false;     // has the visitor done anything?
  let first = null;      // the tab of an address that names none
  let shown = null;      // the tab that is open
  let search = location.search;

  function look() {
    const button = buttons().find(one => one.classList.contains('selected'));
    if (!button) return;
    const name = nameOf(button), wanted = acted ? null : buttonOf(location.hash.slice(1));
    // gradio opens tabs by itself while the page is put together
    if (wanted && wanted !== button) return void wanted.click();
    if (!acted && !wanted) first = name;
    else if (acted && name !== shown) history.pushState(history.state, '', location.pathname + search + '#' + name);
    shown = name;
  }

  for (const type of ['pointerdown', 'keydown', 'click']) {
    window.addEventListener(type, event => { acted ||= event.isTrusted; }, {capture: true});
  }
  window.addEventListener('coladlm-address', () => { search = location.search; });
  window.addEventListener('popstate', () => {
    if (location.search !== search) history.replaceState(history.state, '', location.pathname + search + location.hash);
    const button = buttonOf(location.hash.slice(1) || first);
    if (!button) return;
    shown = nameOf(button);
    button.click();
  });

  const coming = new window.MutationObserver(() => {
    const place = document.querySelector('#tabs > .tab-wrapper');
    if (!place) return;
    coming.disconnect();
    new window.MutationObserver(look).observe(place, {subtree: true, childList: true, attributeFilter: ['class']});
    look();
  });
  coming.observe(document, {subtree: true, childList: true});
}

followTabs(globalThis);
