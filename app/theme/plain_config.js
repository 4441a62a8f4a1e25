// Gradio (6.31) has Svelte watch its configuration, which never changes here. When a page opens, gradio looks for every
// component through the triggers of all events, twice, and each look at something that is watched is a call: a quarter of
// the time in which a page opens. Svelte watches plain objects and arrays alone, and so no array of a class of its own.
// What a component shows is watched as before: gradio makes its own objects of it.

class UnwatchedArray extends Array {}

{
  let config;
  Object.defineProperty(window, 'gradio_config', {
    configurable: true,
    enumerable: true,
    get: () => config,
    set: given => {
      for (const list of [given?.components, given?.dependencies])
        if (Array.isArray(list)) Object.setPrototypeOf(list, UnwatchedArray.prototype);
      config = given;
    },
  });
}
