// Gradio counts the seconds of what is under way at every frame, and the count of its page's loader never ends: the loader
// is gone before it hears that the page is there (gradio 6.31). That would wake the browser 60 times a second for as long
// as the page is open. The page shows none of these counts, since all its events hide their progress, so none is made.

const COUNTING = /^\(\)\s*=>\s*\{[^{}]*performance\.now\(\)\s*-[^{}]*\/\s*1e3[^{}]*&&\s*[\w$]+\(\);?\s*\}$/;

function isCounting(callback) { return COUNTING.test(Function.prototype.toString.call(callback)); }

// Gradio's scripts take the function of this name when they are loaded.
const frameRequest = window.requestAnimationFrame;
window.requestAnimationFrame = callback => isCounting(callback) ? 0 : frameRequest.call(window, callback);
