"""ChoiceList: one of a few ways to go, each with a sentence on what it does and when to take it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from ..own_html import OwnHTML


class Choice(NamedTuple):
    """A value, its name for people, and a sentence about it."""

    value: str
    title: str
    sentence: str


class ChoiceList(OwnHTML):
    """A list of radio buttons; its value is that of the chosen one.

    Marks the nearest `.workbench` with `data-<name>="<value>"`, by which the style sheet shows what a choice needs.
    """

    FILE = "choice_list"

    def __init__(
        self, label: str, name: str, choices: Sequence[Choice], value: str | None = None, **kwargs: Any
    ) -> None:
        self.values = [choice.value for choice in choices]
        super().__init__(
            value or self.values[0], heading=label, mark=name, choices=[list(choice) for choice in choices], **kwargs
        )

    def api_info(self) -> dict[str, Any]:
        return {"type": "string", "enum": self.values}

    def example_payload(self) -> Any:
        return self.values[0]

    example_value = example_payload
