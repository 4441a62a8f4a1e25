"""Recipe: what to run, as plain validated data. The same recipe on the same model gives the same run.

A link, an exported file, a line of history and an API call are all a recipe. Knows neither networks nor tensors; what
an operation makes of a recipe stands in `run.py`.
"""

from __future__ import annotations

import base64
import binascii
import codecs
import dataclasses
import hashlib
import json
import math
import re
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

from .errors import Described, describe
from .settings import MAX_SEED, SamplerSettings, SettingsError

VERSION = 1
MAX_TEXTS = 256
MAX_VARIATIONS = 64
MAX_SEQUENCES = 1024  # texts times variations: the rows of one batch
MAX_TEXT = 200_000  # characters in one text
MAX_ALL_TEXTS = 1_000_000  # characters in all texts together
MAX_OPTIONS = 1_000_000  # characters of the options as JSON
MAX_DEPTH = 8  # lists and objects inside each other in the options
MAX_INTEGER = MAX_SEED  # whole numbers up to here survive every JSON reader
# A control character takes 6 characters in JSON and every other one at most 4 bytes: what is valid always fits.
MAX_JSON = 6 * MAX_ALL_TEXTS + 4 * MAX_OPTIONS + 100_000  # bytes
MAX_URL = 32_000  # characters; web servers refuse a request line of more than about 64,000

OPERATION = re.compile(r"[a-z][a-z0-9_]{0,31}")
FINGERPRINT = re.compile(r"[!-~]{0,128}")


class RecipeError(ValueError):
    """A recipe is not what it should be; the message names the field, what was found and what was expected."""

    def __init__(self, field: str, found: object, wanted: str, sentence: str | None = None):
        self.field, self.found, self.wanted = field, describe(found), wanted
        super().__init__(sentence or f"{field} is {self.found}, expected {wanted}")


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What to run. Raises RecipeError for anything out of bounds, on making one and on reading one.

    operation: a name of run.OPERATIONS. texts: what the operation works on; for "generate" the prompts. settings: of
    the sampler. variations: how many sequences to draw for each text (1 to 64); they differ in their noise alone.
    options: plain data for the operation, whose own schema it must satisfy when it is run; taken as a copy.
    model: fingerprint of the checkpoint the recipe was made with, or empty. version: of this format.
    """

    operation: str
    texts: tuple[str, ...]
    settings: SamplerSettings = dataclasses.field(default_factory=SamplerSettings)
    variations: int = 1
    options: dict[str, Any] = dataclasses.field(default_factory=dict)
    model: str = ""
    version: int = VERSION

    def __post_init__(self) -> None:
        if type(self.version) is not int or self.version != VERSION:
            raise RecipeError("version", self.version, f"{VERSION}, the only one this program knows")
        if not isinstance(self.operation, str) or not OPERATION.fullmatch(self.operation):
            raise RecipeError("operation", self.operation, "the name of an operation, such as 'generate'")
        object.__setattr__(self, "texts", _checked_texts(self.texts))
        if not isinstance(self.settings, SamplerSettings):
            raise RecipeError("settings", self.settings, "SamplerSettings")
        if type(self.variations) is not int or not 1 <= self.variations <= MAX_VARIATIONS:
            raise RecipeError("variations", self.variations, f"a whole number from 1 to {MAX_VARIATIONS}")
        if len(self.texts) * self.variations > MAX_SEQUENCES:
            found = Described(f"{self.variations} for each of {len(self.texts)} texts")
            raise RecipeError("variations", found, f"at most {MAX_SEQUENCES} sequences in all")
        object.__setattr__(self, "options", _checked_options(self.options))
        if not isinstance(self.model, str) or not FINGERPRINT.fullmatch(self.model):
            raise RecipeError("model", self.model, "the fingerprint of a checkpoint, at most 128 visible characters")

    def __hash__(self) -> int:
        return hash(self.to_json())

    def sequences(self) -> list[tuple[str, int]]:
        """(text, key of its randomness) of every sequence in the order of the batch: all variations of a text together.

        The keys of a text are 0 to variations - 1 whatever other texts there are, so that it comes out the same alone
        and beside any others.
        """
        return [(text, key) for text in self.texts for key in range(self.variations)]

    def key(self) -> str:
        """12 hexadecimal digits that stand for this recipe: the same for equal recipes, everywhere and always."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:12]

    # out and in

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON, independent of this recipe."""
        return {
            "operation": self.operation,
            "texts": list(self.texts),
            "settings": self.settings.to_dict(),
            "variations": self.variations,
            "options": _plain(self.options, "options"),
            "model": self.model,
            "version": self.version,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], base: SamplerSettings | None = None) -> Recipe:
        """The recipe in `data`, whose settings may be some of them, over those of `base` (the published defaults).

        Raises RecipeError, also for an unknown or a missing key.
        """
        if not isinstance(data, Mapping):
            raise RecipeError("recipe", data, "an object of names and values")
        known = [field.name for field in dataclasses.fields(cls)]
        for key in data:
            if key not in known:
                raise RecipeError("a key of the recipe", key, f"one of {', '.join(known)}")
        for key in ("operation", "texts"):
            if key not in data:
                raise RecipeError(key, Described("missing"), "in every recipe")
        values = dict(data)
        if not isinstance(values["texts"], (list, tuple)):
            raise RecipeError("texts", values["texts"], "a list of texts")
        try:
            values["settings"] = SamplerSettings.from_dict(values.get("settings", {}), base)
        except SettingsError as error:
            raise RecipeError("settings", Described(error), "valid sampler settings", f"settings: {error}") from error
        return cls(**values)

    def to_json(self) -> str:
        """Canonical JSON: sorted keys, no spaces. Equal recipes give equal strings."""
        return _dumps(self.to_dict())

    @classmethod
    def from_json(cls, text: str | bytes, base: SamplerSettings | None = None) -> Recipe:
        """Reads what `to_json` wrote, or JSON that a person wrote (see `from_dict`). Raises RecipeError."""
        return cls.from_dict(_loads(text), base)

    def to_url(self) -> str:
        """The recipe as one word for a link: base64url of the compressed canonical JSON.

        Raises RecipeError if that word is longer than a link may be (texts of a few ten thousand characters).
        """
        word = base64.urlsafe_b64encode(zlib.compress(self.to_json().encode(), 9)).decode().rstrip("=")
        if len(word) > MAX_URL:
            wanted = f"at most {MAX_URL} in a link: save the recipe as a file"
            raise RecipeError("the recipe", Described(f"{len(word)} characters long"), wanted)
        return word

    @classmethod
    def from_url(cls, word: str) -> Recipe:
        """Reads what `to_url` wrote. Raises RecipeError; never unpacks more than a recipe can hold."""
        if not isinstance(word, str):
            raise RecipeError("the recipe in the link", word, "a text")
        if len(word) > MAX_URL:
            raise RecipeError("the recipe in the link", Described(f"{len(word)} characters long"), f"at most {MAX_URL}")
        word = word.rstrip("=")
        if not re.fullmatch(r"[A-Za-z0-9_-]+", word):
            raise RecipeError("the recipe in the link", word, "letters, digits, - and _ alone")
        unpack = zlib.decompressobj()
        try:
            data = unpack.decompress(base64.urlsafe_b64decode(word + "=" * (-len(word) % 4)), MAX_JSON + 1)
        except (binascii.Error, zlib.error) as error:
            raise RecipeError("the recipe in the link", Described("cut off or changed"), "the whole link") from error
        if len(data) <= MAX_JSON and (not unpack.eof or unpack.unused_data):
            raise RecipeError("the recipe in the link", Described("cut off or changed"), "the whole link")
        return cls.from_json(data)


# options of an operation


@dataclasses.dataclass(frozen=True)
class Option:
    """One entry of an operation's schema.

    kind: bool, int, float or str. default: for a recipe that does not say; None where the option may be left out.
    help: one sentence. choices: the only values, if given. low, high: bounds of a number, or of the length of a text.
    many: None for a single value, or the least and greatest length of a list of values of this kind.
    """

    name: str
    kind: type
    default: Any
    help: str
    choices: tuple[Any, ...] | None = None
    low: float | None = None
    high: float | None = None
    many: tuple[int, int] | None = None

    def check(self, value: Any) -> Any:
        """`value` as this option has it; a whole number is fine where a float is wanted. Raises RecipeError."""
        if value is None and self.default is None:
            return None
        if self.many is None:
            return self._single(value)
        least, most = self.many
        if not isinstance(value, (list, tuple)) or not least <= len(value) <= most:
            length = f"{least}" if least == most else f"{least} to {most}"
            raise RecipeError(f"options.{self.name}", value, f"a list of {length} values")
        return [self._single(part) for part in value]

    def _single(self, value: Any) -> Any:
        if self.kind is float and type(value) is int:
            value = float(value)
        if type(value) is not self.kind:
            words = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}
            raise RecipeError(f"options.{self.name}", value, words[self.kind])
        if self.choices is not None and value not in self.choices:
            raise RecipeError(f"options.{self.name}", value, f"one of {', '.join(map(str, self.choices))}")
        size = len(value) if self.kind is str else value
        if (self.low is not None and size < self.low) or (self.high is not None and size > self.high):
            bounds = [
                f"at {end} {bound}" for end, bound in (("least", self.low), ("most", self.high)) if bound is not None
            ]
            what = "a text of length " if self.kind is str else ""
            raise RecipeError(f"options.{self.name}", value, what + " and ".join(bounds))
        return value


def check_options(options: Mapping[str, Any], schema: Sequence[Option]) -> dict[str, Any]:
    """`options` checked against an operation's schema, with its defaults filled in. Raises RecipeError."""
    known = {option.name: option for option in schema}
    for name in options:
        if name not in known:
            raise RecipeError("an option", name, f"one of {', '.join(known)}" if known else "none for this operation")
    return {name: option.check(options[name]) if name in options else option.default for name, option in known.items()}


# checks


def _checked_texts(texts: Any) -> tuple[str, ...]:
    if not isinstance(texts, (list, tuple)) or not 1 <= len(texts) <= MAX_TEXTS:
        raise RecipeError("texts", texts, f"1 to {MAX_TEXTS} texts")
    for index, text in enumerate(texts):
        if not isinstance(text, str):
            raise RecipeError(f"texts[{index}]", text, "a text")
        if len(text) > MAX_TEXT:
            raise RecipeError(f"texts[{index}]", Described(f"{len(text)} characters long"), f"at most {MAX_TEXT}")
        _check_unicode(text, f"texts[{index}]")
    total = sum(map(len, texts))
    if total > MAX_ALL_TEXTS:
        raise RecipeError("texts", Described(f"{total} characters long together"), f"at most {MAX_ALL_TEXTS}")
    return tuple(map(str, texts))


def _checked_options(options: Any) -> dict[str, Any]:
    if not isinstance(options, Mapping):
        raise RecipeError("options", options, "an object of names and values")
    plain = _plain(options, "options")
    length = len(_dumps(plain))
    if length > MAX_OPTIONS:
        raise RecipeError("options", Described(f"{length} characters long as JSON"), f"at most {MAX_OPTIONS}")
    return plain


def _plain(value: Any, field: str, depth: int = 0) -> Any:
    """A deep copy of `value` in which everything is what JSON has. Raises RecipeError for anything else."""
    if depth > MAX_DEPTH:
        raise RecipeError(
            field, Described("nested too deeply"), f"at most {MAX_DEPTH} lists and objects inside each other"
        )
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise RecipeError(f"a key of {field}", key, "a text")
            _check_unicode(key, f"a key of {field}")
        return {str(key): _plain(part, f"{field}.{key[:40]}", depth + 1) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(part, f"{field}[{index}]", depth + 1) for index, part in enumerate(value)]
    if isinstance(value, str):
        _check_unicode(value, field)
        return str(value)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        if abs(value) > MAX_INTEGER:
            raise RecipeError(field, value, f"a whole number of at most {MAX_INTEGER}")
        return int(value)
    if isinstance(value, float) and math.isfinite(value):
        return float(value) + 0.0  # -0.0 is 0
    raise RecipeError(field, value, "a text, a finite number, true, false, null, a list or an object")


def _check_unicode(text: str, field: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        found = Described(f"a text with half a character (U+{ord(text[error.start]):04X}) at {error.start}")
        raise RecipeError(field, found, "whole Unicode characters") from error


# JSON


def _dumps(data: Any) -> str:
    return json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def decoded(data: bytes) -> str:
    """A file's bytes as text: UTF-8, or UTF-16 with a byte order mark, as PowerShell writes what a program prints.

    Raises UnicodeDecodeError.
    """
    wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return data.decode("utf-16" if wide else "utf-8-sig")


def _loads(text: str | bytes) -> Any:
    if not isinstance(text, (str, bytes)):
        raise RecipeError("recipe", text, "JSON")
    if len(text) > MAX_JSON:
        raise RecipeError("recipe", Described(f"{len(text)} bytes long"), f"at most {MAX_JSON}")
    try:
        text = decoded(text) if isinstance(text, bytes) else text
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        found = Described(f"not JSON at line {error.lineno}, column {error.colno} ({error.msg})")
        raise RecipeError("recipe", found, "JSON") from error
    except UnicodeDecodeError as error:
        found = Described(f"not {error.encoding.upper()} at byte {error.start}")
        raise RecipeError("recipe", found, "JSON in UTF-8") from error
    except RecursionError as error:
        raise RecipeError("recipe", Described("nested too deeply"), "a recipe") from error
    except RecipeError:
        raise
    except ValueError as error:  # a whole number of thousands of digits
        raise RecipeError("recipe", Described("with a number too long to read"), "numbers of ordinary size") from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    data: dict[str, Any] = {}
    for name, value in pairs:
        if name in data:
            raise RecipeError("a key of the recipe", name, "each key once")
        data[name] = value
    return data


def _refuse_constant(name: str) -> Any:
    raise RecipeError("a number of the recipe", Described(name), "a finite number")
