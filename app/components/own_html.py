"""The base of our own components: a gr.HTML whose template never changes and whose JavaScript writes what it shows.

What comes from people or from the model reaches the page as `value`, plain data, and from there only through
`textContent`: no text is ever read as HTML.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.events import EventListener

HERE = Path(__file__).parent
RUN_PART = HERE.parent / "runs" / "run_part.js"
# What runs on the page for one component: what all of a kind have in common is in the file of `OwnHTML.scripts`.
CALL = "window.ownParts.{file}(element, props, trigger, watch, {made_of});"
FUNCTION = """ownParts.{file} = function (element, props, trigger, watch, madeOf) {{
props = new Proxy(props, {{get: (given, name) => given[name] ?? madeOf[name]}});
{script}
}};"""


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
        self.js_on_load = CALL.format(file=self.FILE, made_of=json.dumps(self.props))

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
        return "".join(f":is(#own, .own-{kind.FILE}) {{\n{kind.source('css')}}}\n" for kind in cls._kinds())

    @classmethod
    def script(cls) -> str:
        """The JavaScript of the component."""
        files = [RUN_PART, *(HERE / name for name in cls.SCRIPTS or (f"{cls.FILE}/{cls.FILE}.js",))]
        return "\n".join(file.read_text(encoding="utf-8") for file in files)

    @classmethod
    def scripts(cls) -> str:
        """The JavaScript of all our components, each a function by the name of its folder."""
        return "window.ownParts = {};\n" + "\n".join(
            FUNCTION.format(file=kind.FILE, script=kind.script()) for kind in cls._kinds()
        )

    @classmethod
    def _kinds(cls) -> list[type[OwnHTML]]:
        own = [cls] if "FILE" in vars(cls) and cls.FILE else []
        return own + [kind for part in cls.__subclasses__() for kind in part._kinds()]

    @classmethod
    @functools.cache
    def triggers(cls) -> frozenset[str]:
        """What its JavaScript may trigger: gradio takes any word in quotes for the name of an event."""
        return frozenset(re.findall(r"""(?<=['"`])[\w-]+(?=['"`])""", cls.script()))

    def get_config(self) -> dict[str, Any]:
        """What the browser gets: what the component is made of is in its JavaScript.

        Gradio 6.31 replaces all props of a component that a closed accordion or tab keeps unmounted by those of an
        update, also where the update is that of gr.skip() and has none.
        """
        config = super().get_config()
        return {name: config[name] for name in config if name == "name" or name not in self.props} | {"props": {}}

    def __getattr__(self, name: str) -> Any:
        """A prop, or what listens to an event, by its name; gradio looks for that of an event in `js_on_load`."""
        props = self.__dict__.get("props", {})
        if name in props:
            return props[name]
        if name not in self.triggers():
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return functools.partial(EventListener(event_name=name).listener, self)

    def preprocess(self, payload: Any) -> Any:
        return payload

    def postprocess(self, value: Any) -> Any:
        return value

    def api_info(self) -> dict[str, Any]:
        return {"type": "object"}
