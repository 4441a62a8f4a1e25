"""Tour: a short walk over the page that points at its parts, offered once to a visitor who is new."""

from __future__ import annotations

from typing import Any, NamedTuple

from ..own_html import OwnHTML


class Step(NamedTuple):
    """One step of the walk.

    target: a CSS selector of what it points at. moment: of a finished run, what the stage shows meanwhile: "noise",
    "doubt" and "settled" are states of one block, "end" is the text, "word" one word of it.
    """

    target: str
    moment: str
    title: str
    text: str


STEPS = (
    Step(
        "#text .page",
        "noise",
        "A text comes out of noise",
        "The model writes a few words at a time, and they begin as noise. Blurred and pale means: not decided yet.",
    ),
    Step(
        "#flow-view",
        "doubt",
        "Each word has a path",
        "A path leads from grey noise along the blue flow to an amber word. The dots are words that the model knows.",
    ),
    Step(
        "#text .look.ready",
        "settled",
        "Every step can be seen again",
        "A column is a step, a row one of the words under way: grey while it is open, gold once it stays. Drag here "
        "to go back in time.",
    ),
    Step(
        "#text .inspectable .answer .token[data-block]:not(.special)",
        "word",
        "A word can become another",
        "Click a word to see what else it could have been. Choose one of those, and what follows is written anew.",
    ),
    Step(
        "#tabs > .tab-wrapper",
        "end",
        "There is more",
        "Other tabs mix two texts, edit one, or show many on a map. The question mark at the top explains the words "
        "used here.",
    ),
    Step(
        "#generate .prompt-box, #generate .run-controls",
        "end",
        "Now write your own",
        "Change the beginning and press Run. Your text is then written on this stage.",
    ),
)


class Tour(OwnHTML):
    """An invitation, and the walk that it begins. Once it was taken or declined the browser remembers that, and it does
    not come again; `window` event `coladlm-tour` begins the walk on request. It leaves out what is not on the page.
    """

    FILE = "tour"

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(None, steps=[step._asdict() for step in STEPS], **kwargs)

    def example_payload(self) -> Any:
        return None

    example_value = example_payload
