// plotly.js, fetched once and only when a picture is first shown. props.library: its address on this server.
function plotlyLibrary() {
  if (window.Plotly) return Promise.resolve(window.Plotly);
  window.plotlyLoading ??= new Promise((resolve, reject) => {
    const script = document.createElement('script');
    script.src = (window.gradio_config?.root ?? '') + props.library;
    script.onload = () => resolve(window.Plotly);
    script.onerror = () => {
      delete window.plotlyLoading;  // to be tried again
      script.remove();
      reject(new Error('the drawing library could not be loaded'));
    };
    document.head.append(script);
  });
  return window.plotlyLoading;
}
