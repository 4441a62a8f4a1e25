"""The answers to a completion whose holes are filled, the best of several candidates: what stands between prompt and
suffix, or the whole text of a prompt that has holes.
"""

from __future__ import annotations

import itertools
from typing import Any

from coladlm import ColaDLM
from coladlm.latent.fill import HOLE, Filled, FilledText

from .answers import Answer
from .parsed_request import ParsedRequest


class Insertions(Answer):
    """Follows the filling of holes. Its texts come all at once, the best fit first."""

    def __init__(self, model: ColaDLM, request: ParsedRequest) -> None:
        super().__init__(model, request)
        self.choices = self.choices[: request.insertions]
        self.inserted = 0  # tokens of all answers
        self.found: list[FilledText] = []  # of each choice

    def take(self, event: Any) -> None:
        """Takes in the ranked candidates. Where fewer differ than are wanted, they come again from the best on."""
        if not isinstance(event, Filled):
            return
        for choice, found in zip(self.choices, itertools.cycle(event.candidates), strict=False):
            self.found.append(found)
            self.inserted += sum(end - start for start, end in found.holes)
            self._extend(choice, found.text if self.request.holed else self._insertion_of(found), whole=True)
            choice.reason = "stop"

    def _insertion_of(self, found: FilledText) -> str:
        """What stands between prompt and suffix."""
        spaced = self.echoed.endswith(" ")  # that space belongs to the word which fills the hole
        return found.fills[0].removeprefix(" ") if spaced else found.fills[0]

    @property
    def echoed(self) -> str:
        """The prompt before a suffix."""
        return HOLE.split(self.request.recipe.texts[0])[0]

    def echo(self, index: int) -> str:
        """The prompt, where it is to be repeated; a text whose prompt has the holes has it in itself."""
        return self.echoed if self.request.echo and not self.request.holed else ""

    def more(self, index: int) -> dict[str, Any]:
        """What fills each hole of an answer, and its misfit."""
        found = self.found[index]
        return {"fills": list(found.fills), "misfit": found.misfit}

    def usage(self) -> dict[str, int]:
        """Tokens of what was given, of the answers before a stop cuts them, and of both."""
        given = sum(self.request.prompt_tokens)
        return {"prompt_tokens": given, "completion_tokens": self.inserted, "total_tokens": given + self.inserted}
