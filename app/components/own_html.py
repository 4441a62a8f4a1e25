"""The base of our own components: a gr.HTML whose template never changes and whose JavaScript writes what it shows.

What comes from people or from the model reaches the page as `value`, plain data, and from there only through
`textContent`: no text is ever read as HTML.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

HERE = Path(__file__).parent


class OwnHTML(gr.HTML):
    """A component named after its module `<file>`: `<file>.html`, `<file>.js` and `<file>.css` lie beside it.

    The HTML and CSS go through gradio's template language: no backslash, no backtick and no `${` in them. A component
    with more JavaScript than fits a file names its files in SCRIPTS; they run as one.
    """

    FILE = ""
    SCRIPTS: tuple[str, ...] = ()

    def __init__(self, value: Any, **kwargs: Any) -> None:
        super().__init__(
            value=value,
            html_template=(HERE / f"{self.FILE}.html").read_text(encoding="utf-8"),
            css_template=(HERE / f"{self.FILE}.css").read_text(encoding="utf-8"),
            js_on_load=self.script(),
            apply_default_css=False,
            **kwargs,
        )

    @classmethod
    def script(cls) -> str:
        """The JavaScript of the component."""
        names = cls.SCRIPTS or (f"{cls.FILE}.js",)
        return "\n".join((HERE / name).read_text(encoding="utf-8") for name in names)

    def preprocess(self, payload: Any) -> Any:
        return payload

    def postprocess(self, value: Any) -> Any:
        return value

    def api_info(self) -> dict[str, Any]:
        return {"type": "object"}
