"""The base of components that draw with plotly.js: the copy in plotly's Python package, served by the page itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr
import plotly

from .own_html import OwnHTML

PLOTLY_JS = Path(plotly.__file__).parent / "package_data" / "plotly.min.js"


class PlotlyHTML(OwnHTML):
    """A component whose SCRIPTS begin with `plotly_library.js`."""

    def __init__(self, value: Any, **kwargs: Any) -> None:
        gr.set_static_paths([PLOTLY_JS])
        super().__init__(value, library=f"/gradio_api/file={PLOTLY_JS}", **kwargs)
