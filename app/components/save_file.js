// Files that the browser saves, for components that make them.

function saveAs(url, name) {
  Object.assign(document.createElement('a'), {href: url, download: name}).click();
}

function saveBlob(blob, name) {
  const url = URL.createObjectURL(blob);
  saveAs(url, name);
  setTimeout(() => URL.revokeObjectURL(url), 60000);  // some browsers read it only after they have asked where to
}

// Lets the buttons .save of a component save its picture: make(format) does it. What goes wrong is said beside them.
function connectSaving(box, make) {
  const outcome = document.createElement('span');
  outcome.setAttribute('role', 'status');
  box.querySelector('.files').prepend(outcome);  // whose gap, while it is empty, lies where nothing is aligned
  for (const button of box.querySelectorAll('.save')) button.addEventListener('click', async () => {
    outcome.textContent = '';
    try {
      await make(button.dataset.format);
    } catch (error) {
      outcome.textContent = 'Not saved: ' + error.message + '.';
    }
  });
}
