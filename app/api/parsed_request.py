"""A body of OpenAI's API as a recipe, and what is wanted of its texts. Everything is checked before it runs."""

from __future__ import annotations

import dataclasses
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from coladlm import ColaDLM, SamplerSettings
from coladlm.latent.fill import HOLE, has_holes, read_holes
from coladlm.latent.fill import MAX_TOKENS as MOST_AFTER
from coladlm.recipe import Recipe, RecipeError, describe
from coladlm.settings import SettingsError

from .errors import ApiError
from .option_fields import with_options
from .prompt_scores import MOST_TOKENS
from .request_bodies import (
    SAMPLER_FIELDS,
    ChatBody,
    CompletionBody,
    SharedFields,
    StreamOptions,
    check_fields,
    parse_body,
)
from .tokenizer_api import check_ids

# with a suffix: tokens of an insertion where the request does not say how many, and the most; candidates
LONGEST_INSERTION, MOST_INSERTED = 4, 16
FEWEST_TRIES, MOST_TRIES = 8, 32
LONGEST_HOLE = 2  # tokens of a hole in a prompt where the request does not say how many, as on the page


@dataclasses.dataclass(frozen=True)
class RequestLimits:
    """The most that one request may ask for. new_tokens: of each text. texts: prompts of one request. variations: of
    each. prompt: tokens of one. body: bytes.
    """

    new_tokens: int = 1024
    steps: int = 128
    texts: int = 8
    variations: int = 8
    prompt: int = 4096
    body: int = 1 << 20

    def check_texts(self, texts: Sequence[str], variations: int, field: str) -> None:
        """Raises ApiError for texts beyond the limits. field: the name of what they came in."""
        if len(texts) > self.texts:
            raise ApiError(f"{field} has {len(texts)} texts, expected at most {self.texts} here", field, "too_large")
        if any(len(text) > 20 * self.prompt for text in texts):  # before it takes time to count their tokens
            raise ApiError(f"{field} is too long, expected at most {self.prompt:,} tokens here", field, "too_large")
        if variations > self.variations:
            raise ApiError(f"n is {describe(variations)}, expected at most {self.variations} here", "n", "too_large")

    def check_length(self, length: int, field: str) -> None:
        """Raises ApiError for a text of too many tokens, or of none. field: what the length came in."""
        if length == 0:
            raise ApiError(f"{field} is 0, expected a whole number of at least 1", field)
        if length > self.new_tokens:
            raise ApiError(
                f"{field} is {describe(length)}, expected at most {self.new_tokens:,} here", field, "too_large"
            )

    def check_work(self, settings: SamplerSettings, rows: int, model: ColaDLM) -> None:
        """Raises ApiError for more solver steps, or more drafts of a block, than a request may ask for. rows: texts
        that are written.
        """
        if settings.steps > self.steps:
            raise ApiError(f"steps is {settings.steps:,}, expected at most {self.steps:,} here", "steps", "too_large")
        noises, most = settings.noises_of(settings.block_of(model.block_size)), self.texts * self.variations
        if noises > 1 and rows * noises > most:
            raise ApiError(
                f"noises is {noises} for {rows} texts, expected at most {most} drafts of a block in all here",
                "noises",
                "too_large",
            )


@dataclasses.dataclass(frozen=True)
class ParsedRequest:
    """A checked request.

    prompt_tokens: of each text. stops: where a text ends. stream_usage: report usage at the end of a stream, too.
    stream_drafts: send in it what the text looks like on its way.
    logprobs: how many alternatives to give for each token, None for no probabilities at all. echo: repeat the prompt.
    scored: the token ids of each prompt, where the log-probabilities of its own tokens are wanted. prompt_only: nothing
    is to be written after it.
    ignored: fields that the body has and that changed nothing.
    insertions: how many of the recipe's candidates are answers, the best first, where holes are filled: that before a
    suffix, or those in the prompt; None where the prompt goes on. holed: does the prompt itself have the holes.
    """

    recipe: Recipe
    prompt_tokens: tuple[int, ...]
    stops: tuple[str, ...] = ()
    stream: bool = False
    stream_usage: bool = False
    logprobs: int | None = None
    echo: bool = False
    stream_drafts: bool = False
    ignored: tuple[str, ...] = ()
    scored: tuple[tuple[int, ...], ...] | None = None
    prompt_only: bool = False
    insertions: int | None = None
    holed: bool = False


class RequestParser:
    """Makes requests of bodies. accept_any_model: take every model name for the one that is served."""

    def __init__(self, limits: RequestLimits | None = None, accept_any_model: bool = False) -> None:
        self.limits, self.accept_any_model = limits or RequestLimits(), accept_any_model

    def completion(self, data: Mapping[str, Any], model: ColaDLM) -> ParsedRequest:
        """What a body of /v1/completions asks for. Raises ApiError and PromptError."""
        ignored, body = check_fields(CompletionBody, data), parse_body(CompletionBody, data)
        if body.suffix:
            return self._insertion(body, data, model, ignored)
        scoring = body.echo and body.logprobs is not None  # scored as it stands, underscores and all
        if not scoring and any(isinstance(prompt, str) and has_holes(prompt) for prompt in body.prompt):
            return self._holed(body, data, model, ignored)
        if body.best_of is not None and body.best_of != body.n:
            found = describe(body.best_of)
            raise ApiError(f"best_of is {found}, expected the same as n: texts are not ranked here", "best_of")
        scored = self._scored(body, model) if scoring else None
        only = scored is not None and body.max_tokens == 0
        texts, length = [_text_of(prompt, model) for prompt in body.prompt], 1 if only else body.max_tokens
        recipe, counts = self._recipe(body, data, model, texts, "prompt", "max_tokens", length)
        return ParsedRequest(recipe, counts, tuple(body.stop), logprobs=body.logprobs, echo=body.echo, ignored=ignored,
                             scored=scored, prompt_only=only, **_streaming(body))  # fmt: skip

    def chat(self, data: Mapping[str, Any], model: ColaDLM) -> ParsedRequest:
        """What a body of /v1/chat/completions asks for: the texts of the messages, a blank line between them, are the
        prompt. Raises ApiError and PromptError.
        """
        ignored, body = check_fields(ChatBody, data), parse_body(ChatBody, data)
        if body.top_logprobs is not None and not body.logprobs:
            raise ApiError("top_logprobs is given without logprobs, expected logprobs to be true", "top_logprobs")
        text = "\n\n".join(filter(None, (message.text for message in body.messages)))
        length, field = body.max_completion_tokens, "max_completion_tokens"
        if length is None:
            length, field = body.max_tokens, "max_tokens"
        recipe, counts = self._recipe(body, data, model, [text], "messages", field, length)
        logprobs = (body.top_logprobs or 0) if body.logprobs else None
        return ParsedRequest(recipe, counts, tuple(body.stop), logprobs=logprobs, ignored=ignored, **_streaming(body))

    def _insertion(self, body: CompletionBody, data: Mapping[str, Any], model: ColaDLM,
                   ignored: tuple[str, ...]) -> ParsedRequest:  # fmt: skip
        """What a body with a suffix asks for: candidates of a text with one hole. Raises ApiError and PromptError."""
        streaming, suffix = _streaming(body), body.suffix or ""
        longest = LONGEST_INSERTION if body.max_tokens is None else body.max_tokens
        _check_filling(body, streaming, longest, "a suffix")
        self.check_model(body.model, model)
        prompt = _text_of(body.prompt[0], model)
        for field, text in (("prompt", prompt), ("suffix", suffix)):
            self.limits.check_texts([text], body.n, field)
        tries = body.best_of
        if tries is None:  # a hole of one token in every second candidate, and each other length once
            tries = max(body.n, FEWEST_TRIES, 2 * longest - 2)
        _check_tries(tries, body.n, "a suffix")
        text = f"{prompt}___{suffix}"
        if HOLE.split(text) != [prompt, suffix]:
            raise ApiError("prompt and suffix have a hole ___ in them or at their edges, expected none", "prompt")
        settings = _settings(data, model, "max_tokens", longest)
        self.limits.check_work(settings, tries, model)
        recipe = with_options(Recipe("fill", (text,), settings, tries, {"longest": longest}, model.fingerprint), data)
        before, after = len(model.tokenize(prompt)), len(model.tokenize(suffix))
        if after + longest > MOST_AFTER:
            raise ApiError(f"suffix and insertion have {after:,} + {longest} tokens, expected at most {MOST_AFTER} "
                           "together", "suffix", "context_length_exceeded")  # fmt: skip
        self._check_room(before + after, longest, model, "prompt", "max_tokens")
        return ParsedRequest(recipe, (before + after,), tuple(body.stop), echo=body.echo, ignored=ignored,
                             insertions=body.n, **streaming)  # fmt: skip

    def _holed(self, body: CompletionBody, data: Mapping[str, Any], model: ColaDLM,
               ignored: tuple[str, ...]) -> ParsedRequest:  # fmt: skip
        """What a body with holes in its prompt asks for: candidates of the whole text. Raises ApiError, PromptError."""
        streaming, holes = _streaming(body), "holes ___ in the prompt"
        longest = LONGEST_HOLE if body.max_tokens is None else body.max_tokens
        _check_filling(body, streaming, longest, holes)
        if body.stop:
            raise ApiError(f"stop is given with {holes}, which end where the prompt does; expected none", "stop")
        self.check_model(body.model, model)
        text = str(body.prompt[0])
        self.limits.check_texts([text], body.n, "prompt")
        tries = body.best_of or (body.n if body.n > 1 else FEWEST_TRIES)  # the number of candidates of the page
        _check_tries(tries, body.n, holes)
        settings = _settings(data, model, "max_tokens", longest)
        self.limits.check_work(settings, tries, model)
        try:
            pieces = read_holes(model, text).pieces
        except RecipeError as error:
            field = "prompt" if error.field.startswith("texts") else error.field
            raise ApiError(f"{field} is {error.found}, expected {error.wanted}", "prompt") from error
        given, room = sum(map(len, pieces)), longest * (len(pieces) - 1)
        if given - len(pieces[0]) + room > MOST_AFTER:
            raise ApiError(f"prompt has {given - len(pieces[0]):,} tokens after its first hole and up to {room} in its "
                           f"holes, expected at most {MOST_AFTER} together", "prompt",
                           "context_length_exceeded")  # fmt: skip
        self._check_room(given, room, model, "prompt", "max_tokens")
        recipe = with_options(Recipe("fill", (text,), settings, tries, {"longest": longest}, model.fingerprint), data)
        return ParsedRequest(recipe, (given,), echo=body.echo, ignored=ignored, insertions=body.n, holed=True,
                             **streaming)  # fmt: skip

    def _scored(self, body: CompletionBody, model: ColaDLM) -> tuple[tuple[int, ...], ...]:
        """The token ids of prompts whose own log-probabilities are wanted. Raises ApiError."""
        if body.stream:
            raise ApiError("the log-probabilities of a prompt (echo with logprobs) are not streamed", "stream",
                           "unsupported")  # fmt: skip
        if model.patch_size != 1:
            raise ApiError(f"this model has {model.patch_size} tokens in a latent, expected 1 for the "
                           "log-probabilities of a prompt (echo with logprobs)", "logprobs",
                           "unsupported")  # fmt: skip
        texts = [prompt for prompt in body.prompt if isinstance(prompt, str)]
        self.limits.check_texts(texts, body.n, "prompt")  # before it takes time to count their tokens
        found = tuple(tuple(model.tokenize(p) if isinstance(p, str) else p) for p in body.prompt)
        for ids in found:
            check_ids(list(ids), model, "prompt")
        if (count := sum(map(len, found))) > MOST_TOKENS:
            raise ApiError(f"the prompts have {count:,} tokens, expected at most {MOST_TOKENS:,} together for their "
                           "log-probabilities (echo with logprobs)", "prompt", "too_large")  # fmt: skip
        return found

    def check_model(self, name: str | None, model: ColaDLM) -> None:
        """Raises ApiError for the name of another model."""
        if name is not None and name != model_id(model) and not self.accept_any_model:
            raise ApiError(f"unknown model {describe(name)}; this server serves {model_id(model)!r}", "model",
                           "model_not_found", 404)  # fmt: skip

    def _recipe(
        self, body: SharedFields, data: Mapping[str, Any], model: ColaDLM, texts: list[str], text_field: str,
        length_field: str, length: int | None,
    ) -> tuple[Recipe, tuple[int, ...]]:  # fmt: skip
        """The recipe and the tokens of each prompt."""
        self.check_model(body.model, model)
        self.limits.check_texts(texts, body.n, text_field)
        self.limits.check_length(model.defaults.max_new_tokens if length is None else length, length_field)
        settings = _settings(data, model, length_field, length)
        self.limits.check_work(settings, len(texts) * body.n, model)
        try:
            recipe = Recipe("generate", tuple(texts), settings, body.n, model=model.fingerprint)
        except RecipeError as error:
            field = text_field if error.field.startswith("texts") else error.field
            raise ApiError(f"{field} is {error.found}, expected {error.wanted}", field) from error
        recipe = with_options(recipe, data)
        counts = tuple(len(model.tokenize(text)) for text in recipe.texts)
        self._check_room(max(counts), settings.max_new_tokens, model, text_field, length_field)
        return recipe, counts

    def _check_room(self, prompt: int, answer: int, model: ColaDLM, text_field: str, length_field: str) -> None:
        most = self.limits.prompt
        if prompt > most:
            raise ApiError(f"{text_field} has {prompt:,} tokens, expected at most {most:,} here", text_field,
                           "context_length_exceeded")  # fmt: skip
        if prompt + answer > model.max_tokens:
            raise ApiError(f"prompt and answer have {prompt:,} + {answer:,} tokens, expected at most "
                           f"{model.max_tokens:,} together", length_field, "context_length_exceeded")  # fmt: skip


def _check_filling(body: CompletionBody, streaming: Mapping[str, Any], longest: int, holes: str) -> None:
    """Raises ApiError for what does not go with holes. longest: tokens of one at most. holes: what has them."""
    if body.logprobs is not None:
        raise ApiError(f"logprobs is given with {holes}, which this server does not support", "logprobs",
                       "unsupported")  # fmt: skip
    if streaming["stream_drafts"]:
        raise ApiError(f"include_draft is given with {holes}, which this server does not support", "stream_options",
                       "unsupported")  # fmt: skip
    if len(body.prompt) > 1:
        raise ApiError(f"prompt has {len(body.prompt)} texts, expected one together with {holes}", "prompt")
    if not 1 <= longest <= MOST_INSERTED:
        found = describe(longest)
        raise ApiError(f"max_tokens is {found}, expected 1 to {MOST_INSERTED} with {holes}", "max_tokens")


def _check_tries(tries: int, n: int, holes: str) -> None:
    """Raises ApiError for too few or too many candidates."""
    if not n <= tries <= MOST_TRIES:
        raise ApiError(f"best_of is {describe(tries)}, expected {n} (n) to {MOST_TRIES} with {holes}", "best_of")


def _text_of(prompt: str | list[int], model: ColaDLM) -> str:
    """The text of a prompt of token ids, as the sampler reads it. Raises ApiError."""
    if isinstance(prompt, str):
        return prompt
    check_ids(prompt, model, "prompt")
    return model.read(prompt)


def model_id(model: ColaDLM) -> str:
    """The name of a model for clients."""
    return model.name or "cola-dlm"


def _settings(data: Mapping[str, Any], model: ColaDLM, length_field: str, length: int | None) -> SamplerSettings:
    """The settings in a body over the model's own; a seed that is absent is drawn."""
    given = {name: data[name] for name in SAMPLER_FIELDS if name in data}
    given.setdefault("seed", secrets.randbits(31))
    given.setdefault("whole_sentences", False)  # who asks for so many tokens gets them
    if length is not None:
        given["max_new_tokens"] = length
    try:
        settings = SamplerSettings.from_dict(given, model.defaults)
        model.in_blocks_of(settings)  # a size of blocks that does not fit the model is refused here
        return model.plain(settings)
    except SettingsError as error:
        message = str(error).replace("max_new_tokens", length_field)
        raise ApiError(message, message.split(" ", 1)[0]) from error


def _streaming(body: SharedFields) -> dict[str, Any]:
    """The fields of a ParsedRequest that say whether to stream, and what."""
    options = body.stream_options
    if options is not None and not body.stream:
        raise ApiError("stream_options is given without stream, expected stream to be true", "stream_options")
    options = options or StreamOptions()
    return {"stream": body.stream, "stream_usage": options.include_usage, "stream_drafts": options.include_draft}
