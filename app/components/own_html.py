"""The base of our own components: a gr.HTML whose template never changes and whose JavaScript writes what it shows.

What comes from people or from the model reaches the page as `value`, plain data, and from there only through
`textContent`: no text is ever read as HTML.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr

HERE = Path(__file__).parent
RUN_PART = HERE.parent / "runs" / "run_part.js"
MADE_OF = "props = new Proxy(props, {get: (given, name) => given[name] ?? MADE_OF[name]});"


class OwnHTML(gr.HTML):
    """A component named after its folder `<file>`, which holds `<file>.html`, `<file>.js` and `<file>.css`.

    The HTML goes through gradio's template language: no backslash, no backtick and no `${` in it. A component with more
    JavaScript than fits a file names its files in SCRIPTS, from here; they run as one. The CSS holds rules for what is
    inside the component and reaches the page by `styles`.
    """

    FILE = ""
    SCRIPTS: tuple[str, ...] = ()

    def __init__(
        self, value: Any, elem_classes: str | Sequence[str] = (), part: str = "", also: str = "", **kwargs: Any
    ) -> None:
        """part: of the frames of a run that it shows, by its name there; see app/runs/run_part.js. also: the id of
        another bench than its own, whose runs it shows as well.
        """
        classes = [elem_classes] if isinstance(elem_classes, str) else list(elem_classes)
        super().__init__(
            value=value,
            html_template=self.source("html"),
            js_on_load="",
            apply_default_css=False,
            elem_classes=[*classes, f"own-{self.FILE}"],
            part=part,
            also=also,
            **kwargs,
        )
        made_of = MADE_OF.replace("MADE_OF", f"({json.dumps(self.props)})")
        self.js_on_load = f"{made_of}\n{self.script()}"

    @classmethod
    def source(cls, end: str) -> str:
        """Its file that ends so, "html" or "css"."""
        return (HERE / cls.FILE / f"{cls.FILE}.{end}").read_text(encoding="utf-8")

    @classmethod
    def styles(cls) -> str:
        """The CSS of all our components, each inside its own class, for the head of the page.

        Not as gradio's `css_template`, which writes the style element anew at every update of the value, so that the
        browser styles the whole page again. `:is(#own, ...)` outranks gradio's rules as that template's id does.
        """
        own = ""
        if "FILE" in vars(cls) and cls.FILE:
            css = cls.source("css")
            own = f":is(#own, .own-{cls.FILE}) {{\n{css}}}\n"
        return own + "".join(part.styles() for part in cls.__subclasses__())

    @classmethod
    def script(cls) -> str:
        """The JavaScript of the component."""
        files = [RUN_PART, *(HERE / name for name in cls.SCRIPTS or (f"{cls.FILE}/{cls.FILE}.js",))]
        return "\n".join(file.read_text(encoding="utf-8") for file in files)

    def get_config(self) -> dict[str, Any]:
        """What the browser gets: what the component is made of is in its JavaScript.

        Gradio 6.31 replaces all props of a component that a closed accordion or tab keeps unmounted by those of an
        update, also where the update is that of gr.skip() and has none.
        """
        config = super().get_config()
        return {name: config[name] for name in config if name == "name" or name not in self.props} | {"props": {}}

    def __getattr__(self, name: str) -> Any:
        """A prop by its name. Gradio takes any name that stands in quotes in the JavaScript for that of an event."""
        props = self.__dict__.get("props", {})
        if name in props:
            return props[name]
        # gradio asks for thousands of names while it lays out a page, and looks for each with a regular expression
        if name not in self.__dict__.get("js_on_load", ""):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return super().__getattr__(name)

    def preprocess(self, payload: Any) -> Any:
        return payload

    def postprocess(self, value: Any) -> Any:
        return value

    def api_info(self) -> dict[str, Any]:
        return {"type": "object"}
