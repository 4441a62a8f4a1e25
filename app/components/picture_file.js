/* global saveAs */
// Pictures as files, for components that draw: what is saved looks as it does on the page.

// A colour of the page, however it is written there, as rgb(): what reads an SVG may know neither variables nor oklab.
function plainColour(css, root) {
  const probe = root.appendChild(document.createElement('span'));
  probe.style.color = css;
  // one for all: to make a canvas takes far longer than to draw on it
  const pen = plainColour.pen ??= Object.assign(document.createElement('canvas'), {width: 1, height: 1}).getContext('2d', {willReadFrequently: true});
  pen.fillStyle = getComputedStyle(probe).color;
  probe.remove();
  pen.clearRect(0, 0, 1, 1);
  pen.fillRect(0, 0, 1, 1);
  return 'rgb(' + [...pen.getImageData(0, 0, 1, 1).data].slice(0, 3).join() + ')';
}

// Saves an <svg> element with a width and a height as 'svg' or 'png'.
async function savePicture(svg, name, format) {
  const text = new XMLSerializer().serializeToString(svg);
  const url = URL.createObjectURL(new Blob([text], {type: 'image/svg+xml'}));
  try {
    if (format === 'svg') return saveAs('data:image/svg+xml;charset=utf-8,' + encodeURIComponent(text), name + '.svg');
    const image = new Image(), [width, height] = ['width', 'height'].map(side => Number(svg.getAttribute(side)));
    await new Promise((resolve, reject) => Object.assign(image, {onload: resolve, onerror: () => reject(new Error('the picture could not be drawn')), src: url}));
    const scale = Math.min(2, 16000 / Math.max(width, height)); // browsers draw no longer canvas
    const canvas = Object.assign(document.createElement('canvas'), {width: width * scale, height: height * scale});
    canvas.getContext('2d').drawImage(image, 0, 0, canvas.width, canvas.height);
    saveAs(canvas.toDataURL('image/png'), name + '.png');
  } finally {
    URL.revokeObjectURL(url);
  }
}
