"""The answer to a completion with a suffix: what stands between prompt and suffix, the best of several candidates."""

from __future__ import annotations

import itertools
from typing import Any

from coladlm import ColaDLM
from coladlm.latent.fill import HOLE, Filled

from .answers import Answer
from .parsed_request import ParsedRequest


class Insertions(Answer):
    """Follows the filling of the hole between prompt and suffix. Its texts come all at once, the best fit first."""

    def __init__(self, model: ColaDLM, request: ParsedRequest) -> None:
        super().__init__(model, request)
        self.choices = self.choices[: request.insertions]
        self.inserted = 0  # tokens of all answers

    def take(self, event: Any) -> None:
        """Takes in the ranked candidates. Where fewer differ than are wanted, they come again from the best on."""
        if not isinstance(event, Filled):
            return
        spaced = self.echoed.endswith(" ")  # that space belongs to the word which fills the hole
        for choice, found in zip(self.choices, itertools.cycle(event.candidates), strict=False):
            text, (start, end) = found.fills[0], found.holes[0]
            self.inserted += end - start
            self._extend(choice, text.removeprefix(" ") if spaced else text, whole=True)
            choice.reason = "stop"

    @property
    def echoed(self) -> str:
        """The prompt."""
        return HOLE.split(self.request.recipe.texts[0])[0]

    def echo(self, index: int) -> str:
        """The prompt, where it is to be repeated."""
        return self.echoed if self.request.echo else ""

    def usage(self) -> dict[str, int]:
        """Tokens of prompt and suffix, of the answers before a stop cuts them, and of both."""
        given = sum(self.request.prompt_tokens)
        return {"prompt_tokens": given, "completion_tokens": self.inserted, "total_tokens": given + self.inserted}
