"""What a body of OpenAI's API asks for, as a recipe and what to do with its texts. Checks everything before it runs."""

from __future__ import annotations

import dataclasses
import json
import secrets
from collections.abc import Mapping
from typing import Any

from coladlm import ColaDLM, SamplerSettings
from coladlm.recipe import Recipe, brief
from coladlm.settings import SettingsError

from .errors import DoorError

MAX_STOPS, MAX_STOP = 8, 200  # texts to stop at, and characters in one
MAX_LOGPROBS = 20

# fields of the sampler under their own names, beside those that OpenAI's API has
SAMPLER = tuple(
    field.name for field in dataclasses.fields(SamplerSettings) if field.name not in ("max_new_tokens", "seed")
)
COMMON = (
    "model",
    "max_tokens",
    "temperature",
    "top_p",
    "n",
    "stream",
    "stream_options",
    "stop",
    "seed",
    "user",
    *SAMPLER,
)
# what clients send though it says nothing here, and the only values that it may have
NOTHING = {"presence_penalty": (0, None), "frequency_penalty": (0, None), "logit_bias": ({}, None),
           "suffix": (None, ""), "tools": ([], None), "tool_choice": ("none", "auto", None), "store": (False, None),
           "response_format": ({"type": "text"}, None), "metadata": ({}, None), "functions": ([], None),
           "function_call": ("none", "auto", None), "parallel_tool_calls": (True, False, None),
           "modalities": (["text"], None), "service_tier": ("auto", "default", None)}  # fmt: skip
COMPLETION = ("prompt", "echo", "logprobs", "best_of")
CHAT = ("messages", "max_completion_tokens", "logprobs", "top_logprobs")


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

    def check(self, settings: SamplerSettings) -> None:
        """Raises DoorError for settings beyond the limits."""
        for field, found, most in (
            ("max_tokens", settings.max_new_tokens, self.new_tokens),
            ("steps", settings.steps, self.steps),
        ):
            if found > most:
                raise DoorError(f"{field} is {found:,}, expected at most {most:,} here", field, "too_large")


@dataclasses.dataclass(frozen=True)
class Asked:
    """A checked request. logprobs: how many alternatives of each token to tell, None for no probabilities at all."""

    recipe: Recipe
    prompt_tokens: tuple[int, ...]  # of each text
    stops: tuple[str, ...] = ()
    stream: bool = False
    usage: bool = False  # in the stream, too
    logprobs: int | None = None
    echo: bool = False


def parse_json(body: bytes) -> dict[str, Any]:
    """The object in a body. Raises DoorError."""
    try:
        data = json.loads(body, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        said = "nested too deeply" if isinstance(error, RecursionError) else str(error)[:120]
        raise DoorError(f"the body is no valid JSON ({said}), expected an object", code="invalid_json") from None
    if not isinstance(data, dict):
        raise DoorError(f"the body is {brief(data)}, expected an object", code="invalid_json")
    return data


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


def asked_completion(data: Mapping[str, Any], model: ColaDLM, limits: RequestLimits) -> Asked:
    """What a body of /v1/completions asks for. Raises DoorError, RecipeError, SettingsError, PromptError."""
    _only_known(data, (*COMMON, *COMPLETION))
    prompt = data.get("prompt", "")
    texts = [prompt] if isinstance(prompt, str) else prompt
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
        raise DoorError(f"prompt is {brief(prompt)}, expected a text or a list of texts", "prompt")
    logprobs = _whole(data, "logprobs", None, 0, MAX_LOGPROBS)
    best_of = _whole(data, "best_of", None, 1, limits.variations)
    if best_of is not None and best_of != _whole(data, "n", 1, 1, limits.variations):
        raise DoorError(f"best_of is {best_of}, expected the same as n: nothing is ranked here", "best_of")
    length = _whole(data, "max_tokens", None, 1, None)
    return _asked(data, model, limits, texts, length, logprobs, _flag(data, "echo"))


def asked_chat(data: Mapping[str, Any], model: ColaDLM, limits: RequestLimits) -> Asked:
    """What a body of /v1/chat/completions asks for: the messages' texts, a blank line between them, are the prompt."""
    _only_known(data, (*COMMON, *CHAT))
    messages = data.get("messages")
    if not isinstance(messages, list) or not messages:
        raise DoorError(f"messages is {brief(messages)}, expected a list of at least one message", "messages")
    text = "\n\n".join(filter(None, (_message(message, i) for i, message in enumerate(messages))))
    wanted, top = _flag(data, "logprobs"), _whole(data, "top_logprobs", None, 0, MAX_LOGPROBS)
    if top is not None and not wanted:
        raise DoorError("top_logprobs is there without logprobs, expected logprobs to be true", "top_logprobs")
    length = _whole(data, "max_completion_tokens", _whole(data, "max_tokens", None, 1, None), 1, None)
    return _asked(data, model, limits, [text], length, (top or 0) if wanted else None, False)


def _asked(
    data: Mapping[str, Any], model: ColaDLM, limits: RequestLimits, texts: list[str], length: int | None,
    logprobs: int | None, echo: bool,
) -> Asked:  # fmt: skip
    name = data.get("model")
    if name is not None and name != model_id(model):
        raise DoorError(f"the model {brief(name)} is not there, expected {model_id(model)!r}", "model",
                        "model_not_found", 404)  # fmt: skip
    if len(texts) > limits.texts:
        raise DoorError(f"prompt has {len(texts)} texts, expected at most {limits.texts} here", "prompt", "too_large")
    if any(len(text) > 20 * limits.prompt for text in texts):  # before it takes time to count
        raise DoorError(f"prompt is too long, expected at most {limits.prompt:,} tokens here", "prompt", "too_large")
    given = {key: data[key] for key in SAMPLER if data.get(key) is not None}
    given["seed"] = secrets.randbits(31) if data.get("seed") is None else data["seed"]
    if length is not None:
        given["max_new_tokens"] = length
    variations = _whole(data, "n", 1, 1, limits.variations)
    try:
        settings = SamplerSettings.from_dict(given, model.defaults)
    except SettingsError as error:
        said = str(error).replace("max_new_tokens", "max_tokens")
        raise DoorError(said, said.split(" ", 1)[0]) from error
    limits.check(settings)
    recipe = Recipe("generate", tuple(texts), settings, variations, model=model.fingerprint)
    counts = tuple(len(model.tokenize(text)) for text in recipe.texts)
    if max(counts) > limits.prompt:
        raise DoorError(f"prompt has {max(counts):,} tokens, expected at most {limits.prompt:,} here", "prompt",
                        "context_length_exceeded")  # fmt: skip
    if max(counts) + settings.max_new_tokens > model.max_tokens:
        raise DoorError(f"prompt and answer have {max(counts):,} + {settings.max_new_tokens:,} tokens, expected at "
                        f"most {model.max_tokens:,} together", "max_tokens", "context_length_exceeded")  # fmt: skip
    stream, options = _flag(data, "stream"), data.get("stream_options")
    if options is not None and (not isinstance(options, dict) or not stream):
        raise DoorError(f"stream_options is {brief(options)}, expected an object, with a stream", "stream_options")
    usage = bool(options) and _flag(options, "include_usage")
    return Asked(recipe, counts, _stops(data), stream, usage, logprobs, echo)


def model_id(model: ColaDLM) -> str:
    """The name of a model for clients."""
    return model.name or "cola-dlm"


def _only_known(data: Mapping[str, Any], known: tuple[str, ...]) -> None:
    for key, value in data.items():
        if key in known:
            continue
        if key not in NOTHING:
            raise DoorError(f"unknown field {brief(key)}, expected some of {', '.join(known)}", key[:60],
                            "unknown_field")  # fmt: skip
        if value not in NOTHING[key]:
            raise DoorError(f"{key} is {brief(value)}, which this model cannot do", key, "unsupported")


def _message(message: Any, index: int) -> str:
    where = f"messages[{index}]"
    if not isinstance(message, dict) or not isinstance(message.get("role"), str):
        raise DoorError(f"{where} is {brief(message)}, expected an object with a role and a content", where)
    content = message.get("content")
    parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
    if not isinstance(parts, list):
        raise DoorError(f"{where}.content is {brief(content)}, expected a text", f"{where}.content")
    for part in parts:
        if not isinstance(part, dict) or part.get("type") != "text" or not isinstance(part.get("text"), str):
            raise DoorError(f"{where}.content holds {brief(part)}, expected texts alone", f"{where}.content")
    return "".join(part["text"] for part in parts)


def _stops(data: Mapping[str, Any]) -> tuple[str, ...]:
    stop = data.get("stop")
    stops = [] if stop is None else [stop] if isinstance(stop, str) else stop
    good = isinstance(stops, list) and len(stops) <= MAX_STOPS
    if not good or not all(isinstance(one, str) and 0 < len(one) <= MAX_STOP for one in stops):
        wanted = f"a text or a list of up to {MAX_STOPS}, each of 1 to {MAX_STOP} characters"
        raise DoorError(f"stop is {brief(stop)}, expected {wanted}", "stop")
    return tuple(stops)


def _whole(data: Mapping[str, Any], name: str, default: int | None, low: int, high: int | None) -> int | None:
    value = data.get(name)
    if value is None:
        return default
    if type(value) is not int or value < low or (high is not None and value > high):
        wanted = f"from {low} to {high}" if high is not None else f"of at least {low}"
        raise DoorError(f"{name} is {brief(value)}, expected a whole number {wanted}", name)
    return value


def _flag(data: Mapping[str, Any], name: str) -> bool:
    value = data.get(name)
    if value is not None and not isinstance(value, bool):
        raise DoorError(f"{name} is {brief(value)}, expected true or false", name)
    return bool(value)
