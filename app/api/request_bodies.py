"""The fields of OpenAI's API as pydantic models, and what becomes of fields that this server does not use.

Knows the form of a body and nothing of the model: `parsed_request.py` makes a recipe of it. In every object a null is
as if the field were absent. Errors read "FIELD is FOUND, expected WANTED".
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from coladlm import SamplerSettings
from coladlm.recipe import describe

from .errors import ApiError
from .option_fields import option_fields

MAX_STOPS, MAX_STOP = 8, 200  # texts to stop at, and characters in one
MAX_LOGPROBS = 20
MOST_DIGITS = 1000  # of a whole number: Python's own time for one grows with the square of them

# settings of the sampler under their own names, beside the fields that OpenAI's API has; `SamplerSettings` checks them
SAMPLER_FIELDS = tuple(field.name for field in dataclasses.fields(SamplerSettings) if field.name != "max_new_tokens")

# fields that change nothing of an answer here, whatever their value: accepted, and named in the header of the answer
IGNORED_FIELDS = frozenset({
    "metadata", "parallel_tool_calls", "prediction", "prompt_cache_key", "prompt_cache_options",
    "prompt_cache_retention", "reasoning_effort", "safety_identifier", "service_tier", "store", "user", "verbosity",
})  # fmt: skip
# fields that would change an answer and are not supported, and the only values that change nothing
UNSUPPORTED_FIELDS = {
    "audio": (), "frequency_penalty": (0,), "function_call": ("none", "auto"), "functions": ([],), "logit_bias": ({},),
    "modalities": (["text"],), "moderation": (), "presence_penalty": (0,), "response_format": ({"type": "text"},),
    "suffix": ("",), "tool_choice": ("none", "auto"), "tools": ([],), "web_search_options": (),
}  # fmt: skip
NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")  # of a field, for a header


def _expected(wanted: str) -> PydanticCustomError:
    return PydanticCustomError("expected", "{wanted}", {"wanted": wanted})


class ApiObject(BaseModel):
    """An object in a body. Fields that it does not name are left to the caller."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")

    @model_validator(mode="before")
    @classmethod
    def _nulls_are_absent(cls, data: Any) -> Any:
        return without_nulls(data) if isinstance(data, Mapping) else data


def without_nulls(data: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of an object that have a value."""
    return {name: value for name, value in data.items() if value is not None}


def _list_of_texts(value: Any) -> Any:
    """A text alone is a list of one."""
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list):
        raise _expected("a text or a list of texts")
    return texts


def _list_of_prompts(value: Any) -> Any:
    """A text or a prompt of token ids alone is a list of one."""
    if isinstance(value, str) or _are_ids(value):
        return [value]
    if not isinstance(value, list):
        raise _expected("a text, token ids, or a list of such")
    return value


def _text_or_ids(value: Any) -> Any:
    if not isinstance(value, str) and not _are_ids(value):
        raise _expected("a text or a list of token ids")
    return value


def _are_ids(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(type(token) is int for token in value)


def _content_parts(value: Any) -> Any:
    """A text alone is one part of the type text."""
    parts = [{"type": "text", "text": value}] if isinstance(value, str) else value
    if not isinstance(parts, list):
        raise _expected("a text or a list of parts")
    return parts


class StreamOptions(ApiObject):
    include_usage: bool = False
    include_draft: bool = False


class SharedFields(ApiObject):
    """What both endpoints take."""

    model: str | None = None
    max_tokens: int | None = Field(None, ge=0)
    n: int = Field(1, ge=1)
    stop: Annotated[
        list[Annotated[str, StringConstraints(min_length=1, max_length=MAX_STOP)]],
        BeforeValidator(_list_of_texts), Field(max_length=MAX_STOPS),
    ] = []  # fmt: skip
    stream: bool = False
    stream_options: StreamOptions | None = None


class CompletionBody(SharedFields):
    """The body of /v1/completions."""

    prompt: Annotated[
        list[Annotated[Any, BeforeValidator(_text_or_ids)]], BeforeValidator(_list_of_prompts), Field(min_length=1)
    ] = [""]  # fmt: skip
    suffix: str | None = None
    echo: bool = False
    logprobs: int | None = Field(None, ge=0, le=MAX_LOGPROBS)
    best_of: int | None = Field(None, ge=1)


class ContentPart(ApiObject):
    type: Literal["text"]
    text: str


class Message(ApiObject):
    """A message of a chat. One that calls tools needs no content."""

    role: str
    content: Annotated[list[ContentPart], BeforeValidator(_content_parts)] | None = None
    tool_calls: Any = None
    function_call: Any = None

    @model_validator(mode="after")
    def _has_content(self) -> Message:
        if self.content is None and self.tool_calls is None and self.function_call is None:
            raise _expected("a content or tool_calls in it")
        return self

    @property
    def text(self) -> str:
        return "".join(part.text for part in self.content or ())


class ChatBody(SharedFields):
    """The body of /v1/chat/completions."""

    messages: list[Message] = Field(min_length=1)
    max_completion_tokens: int | None = Field(None, ge=0)
    logprobs: bool = False
    top_logprobs: int | None = Field(None, ge=0, le=MAX_LOGPROBS)


Body = TypeVar("Body", CompletionBody, ChatBody)


def parse_json(body: bytes) -> dict[str, Any]:
    """The object in a body, without the fields that are null. Raises ApiError."""
    try:
        data = json.loads(body, parse_constant=_no_constant, parse_int=_whole_number)
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)[:120]
        raise ApiError(f"the body is not valid JSON ({reason}), expected an object", code="invalid_json") from None
    if not isinstance(data, dict):
        raise ApiError(f"the body is {describe(data)}, expected an object", code="invalid_json")
    return without_nulls(data)


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not a number of JSON")


def _whole_number(digits: str) -> int:
    if len(digits) > MOST_DIGITS:
        raise ValueError(f"a whole number has {len(digits):,} digits")
    return int(digits)


def parse_body(kind: type[Body], data: Mapping[str, Any]) -> Body:
    """The fields of OpenAI's API in a body. Raises ApiError for the first that is wrong."""
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=True)[0]
        field = _path(first["loc"], data)
        if first["type"] == "missing":
            raise ApiError(f"{field} is absent, expected {_wanted(first)}", field) from None
        raise ApiError(f"{field} is {describe(first['input'])}, expected {_wanted(first)}", field) from None


def _path(location: Sequence[str | int], data: Any) -> str:
    """messages[0].content for ("messages", 0, "content"); without the places in lists that were made of one text."""
    path = ""
    for part in location:
        if isinstance(data, str):
            break
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else part
        data = data[part] if isinstance(part, int) else data.get(part)
    return path


def _wanted(error: Mapping[str, Any]) -> str:
    """What pydantic expected, in words."""
    context = error.get("ctx", {})
    match error["type"]:
        case "expected":
            return context["wanted"]
        case "missing":
            return {"messages": "a list of at least one message"}.get(error["loc"][-1], "a text")
        case "string_type":
            return "a text"
        case "string_too_short" | "string_too_long":
            return f"a text of 1 to {MAX_STOP} characters"
        case "int_type":
            return "a whole number"
        case "bool_type":
            return "true or false"
        case "list_type":
            return "a list"
        case "model_type" | "model_attributes_type" | "dict_type":
            return "an object"
        case "too_short":
            return f"a list of at least {context['min_length']}"
        case "too_long":
            return f"a list of at most {context['max_length']}"
        case "greater_than_equal":
            return f"a whole number of at least {context['ge']}"
        case "less_than_equal":
            return f"a whole number of at most {context['le']}"
        case "literal_error":
            return str(context["expected"])
    return str(error["msg"]).removeprefix("Input should be ")


def check_fields(kind: type[Body], data: Mapping[str, Any]) -> tuple[str, ...]:
    """The fields of a body, those of its messages and stream options among them, that are ignored.

    Raises ApiError for a field that would change the answer and is not supported, and for an unknown one.
    """
    known = (*kind.model_fields, *SAMPLER_FIELDS, *option_fields())
    ignored = []
    for name, value in data.items():
        if name in known:
            continue
        if name in IGNORED_FIELDS:
            ignored.append(name)
        elif name not in UNSUPPORTED_FIELDS:
            raise ApiError(f"unknown field {describe(name)}, expected some of {', '.join(known)}", name[:60],
                           "unknown_field")  # fmt: skip
        elif not any(type(value) in (type(one), float) and value == one for one in UNSUPPORTED_FIELDS[name]):
            raise ApiError(f"{name} is {describe(value)}, which this server does not support", name, "unsupported")
    ignored += _extra("stream_options", [data.get("stream_options")], StreamOptions.model_fields)
    ignored += _extra("messages", data.get("messages"), ("role", "content"))
    return tuple(sorted(set(ignored)))


def _extra(where: str, objects: Any, used: Collection[str]) -> list[str]:
    """What objects hold beside the fields that are used; names that fit in no header are summed up."""
    held = [one for one in objects if isinstance(one, Mapping)] if isinstance(objects, list) else []
    names = {name for one in held for name in without_nulls(one) if name not in used}
    return [f"{where}.{name if NAME.fullmatch(name) else '(other)'}" for name in names]
