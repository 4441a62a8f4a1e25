"""Recipes: the same in as out, everything out of bounds refused with a sentence, nothing else ever raised."""

import base64
import copy
import dataclasses
import json
import random
import zlib

import pytest

from coladlm.recipe import (
    MAX_ALL_TEXTS,
    MAX_JSON,
    MAX_OPTIONS,
    MAX_SEQUENCES,
    MAX_TEXT,
    MAX_TEXTS,
    MAX_URL,
    Option,
    Recipe,
    RecipeError,
    check_options,
)
from coladlm.settings import SamplerSettings

SETTINGS = SamplerSettings(steps=5, guidance=2.5, seed=2**53 - 1, guidance_interval=(100.0, 900.0))
RECIPE = Recipe(
    operation="generate",
    texts=("Once upon a time", "Il était une fois 🐉\n", "", "كان يا ما كان"),
    settings=SETTINGS,
    variations=3,
    options={"span": [2, 5], "road": {"name": "flow", "time": 300.5}, "kept": True, "none": None},
    model="0123456789abcdef",
)


def word(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def test_json_in_and_out():
    assert Recipe.from_json(RECIPE.to_json()) == RECIPE
    assert Recipe.from_json(RECIPE.to_json().encode()) == RECIPE
    assert Recipe.from_dict(json.loads(json.dumps(RECIPE.to_dict()))) == RECIPE


def test_a_seed_that_a_browser_would_change_is_refused():
    plain = RECIPE.to_dict()
    plain["settings"]["seed"] = 2**53 + 1
    with pytest.raises(RecipeError, match="seed is 9007199254740993, expected a number from 0 to 9007199254740991"):
        Recipe.from_json(json.dumps(plain))


def test_a_number_that_a_browser_would_change_is_no_option():
    assert Recipe("branch", ("a",), options={"key": 2**53 - 1}).options == {"key": 2**53 - 1}
    with pytest.raises(RecipeError, match=r"options\.key is 9007199254740992, expected a whole number of at most"):
        Recipe("branch", ("a",), options={"key": 2**53})


def test_equal_recipes_have_one_zero():
    one, other = (Recipe("edit", ("a",), options={"strength": zero}) for zero in (0.0, -0.0))
    assert one == other and one.to_json() == other.to_json()


def test_link_in_and_out():
    link = RECIPE.to_url()
    assert Recipe.from_url(link) == RECIPE
    assert set(link) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
    assert len(Recipe("generate", ("Once upon a time",)).to_url()) < 500


def test_equal_recipes_have_equal_json_and_keys():
    shuffled = Recipe.from_dict(dict(reversed(RECIPE.to_dict().items())))
    assert shuffled.to_json() == RECIPE.to_json()
    assert shuffled.key() == RECIPE.key()
    assert hash(shuffled) == hash(RECIPE)
    whole, real = (dataclasses.replace(SETTINGS, guidance=guidance) for guidance in (2, 2.0))
    assert Recipe("generate", ["a"], whole).key() == Recipe("generate", ("a",), real).key()


def test_key_is_always_the_same():
    assert Recipe("generate", ("Once upon a time",)).to_json() == (
        '{"model":"","operation":"generate","options":{},"settings":{"guidance":7.0,"guidance_interval":[0.0,1000.0],'
        '"history":"latents","max_new_tokens":64,"no_repeat_ngram_size":0,"repetition_penalty":1.1,"seed":0,'
        '"solver":"euler",'
        '"stagger":0.0,"steps":16,"stochasticity":0.0,"stop_at_end":true,"stop_when_settled":0,"temperature":0.0,'
        '"time_grid":"linear","time_shift":1.0,"top_k":50,"top_p":0.9,"whole_sentences":false},'
        '"texts":["Once upon a time"],"variations":1,"version":1}'
    )
    assert Recipe("generate", ("Once upon a time",)).key() == "cbdef9b6f756"


@pytest.mark.parametrize("change", [{"texts": ("other",)}, {"variations": 2}, {"model": "f"}, {"options": {"a": 1}},
                                    {"operation": "edit"}, {"settings": SamplerSettings(seed=1)}])  # fmt: skip
def test_key_tells_recipes_apart(change):
    assert dataclasses.replace(RECIPE, **change).key() != RECIPE.key()


def test_variations_of_a_text_have_the_same_keys_in_any_company():
    assert Recipe("generate", ("a", "b"), variations=2).sequences() == [("a", 0), ("a", 1), ("b", 0), ("b", 1)]


def test_settings_that_are_left_out_come_from_the_base():
    data = {"operation": "generate", "texts": ["a"], "settings": {"seed": 4}}
    assert Recipe.from_dict(data).settings == SamplerSettings(seed=4)
    assert Recipe.from_dict(data, base=SETTINGS).settings == dataclasses.replace(SETTINGS, seed=4)


def test_options_are_a_copy():
    options = {"span": [1, 2]}
    recipe = Recipe("edit", ("a",), options=options)
    options["span"].append(3)
    recipe.to_dict()["options"]["span"].append(4)
    assert recipe.options == {"span": [1, 2]}


def test_recipe_can_be_copied():
    assert copy.deepcopy(RECIPE) == RECIPE


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"operation": ""}, "operation"),
        ({"operation": "Generate!"}, "operation"),
        ({"operation": 3}, "operation"),
        ({"texts": "Once"}, "texts"),
        ({"texts": []}, "texts"),
        ({"texts": ["a"] * (MAX_TEXTS + 1)}, "texts"),
        ({"texts": ["a", 1]}, r"texts\[1\]"),
        ({"texts": ["a" * (MAX_TEXT + 1)]}, r"texts\[0\]"),
        ({"texts": ["a" * MAX_TEXT] * (MAX_ALL_TEXTS // MAX_TEXT) + ["a"]}, "texts"),
        ({"texts": ["half \ud83d"]}, r"texts\[0\]"),
        ({"settings": {"steps": 0}}, "settings: steps"),
        ({"settings": {"step": 3}}, "settings: unknown sampler setting 'step'"),
        ({"settings": None}, "settings"),
        ({"variations": 0}, "variations"),
        ({"variations": 65}, "variations"),
        ({"variations": True}, "variations"),
        ({"variations": 2.0}, "variations"),
        ({"texts": ["a"] * 256, "variations": 64}, f"variations is 64 .* at most {MAX_SEQUENCES}"),
        ({"options": []}, "options"),
        ({"options": {"a": float("nan")}}, "options.a"),
        ({"options": {"a": [1, {"b": {1, 2}}]}}, r"options.a\[1\].b"),
        ({"options": {"a": 2**60}}, "options.a"),
        ({"options": {1: 2}}, "a key of options"),
        ({"options": {"a": "x" * MAX_OPTIONS}}, "options"),
        ({"options": {"a": [[[[[[[[[[[]]]]]]]]]]]}}, "options.a.* nested"),
        ({"model": None}, "model"),
        ({"model": "a b"}, "model"),
        ({"model": "a" * 129}, "model"),
        ({"version": 2}, "version is 2, expected 1"),
        ({"version": "1"}, "version"),
        ({"colour": "red"}, "a key of the recipe is 'colour', expected one of operation, texts"),
    ],
)
def test_wrong_fields_are_named(change, field):
    data = {**RECIPE.to_dict(), **change}
    with pytest.raises(RecipeError, match=f"^(?=.*expected){field}") as caught:
        Recipe.from_dict(data)
    assert len(str(caught.value)) < 400 and "\n" not in str(caught.value)


@pytest.mark.parametrize("key", ["operation", "texts"])
def test_missing_fields_are_named(key):
    data = RECIPE.to_dict()
    del data[key]
    with pytest.raises(RecipeError, match=f"^{key} is missing"):
        Recipe.from_dict(data)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "not JSON at line 1, column 1"),
        ("{", "not JSON"),
        ("[1]", "expected an object"),
        ("null", "expected an object"),
        (b"\xff{}", "not UTF-8 at byte 0"),
        (b"\xff\xfe{", "not UTF-16"),
        ("[" * 100_000, "nested too deeply"),
        ("9" * 5000, "a number too long"),
        ('{"operation": NaN}', "NaN"),
        ('{"operation": "generate", "operation": "edit"}', "'operation', expected each key once"),
        ('{"operation": "generate", "texts": ["\\ud800"]}', "half a character"),
        (" " * (MAX_JSON + 1), "bytes long"),
        (3, "expected JSON"),
    ],
)
def test_json_that_is_no_recipe_gets_a_sentence(text, sentence):
    with pytest.raises(RecipeError, match=sentence):
        Recipe.from_json(text)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_recipe_is_read_in_what_editors_and_shells_write(encoding):
    recipe = Recipe("generate", ("Fran\u00e7ois said",), SamplerSettings())
    assert Recipe.from_json(recipe.to_json().encode(encoding)) == recipe


@pytest.mark.parametrize(
    ("link", "sentence"),
    [
        ("", "letters, digits"),
        ("a b", "letters, digits"),
        ("é", "letters, digits"),
        ("A", "cut off or changed"),
        ("AAAA", "cut off or changed"),
        (RECIPE.to_url()[:-9], "cut off or changed"),
        (word(zlib.compress(b"{}") + b"more"), "cut off or changed"),
        (word(zlib.compress(b"{}")), "operation is missing"),
        ("A" * (MAX_URL + 1), "characters long"),
        (None, "expected a text"),
    ],
)
def test_broken_links_get_a_sentence(link, sentence):
    with pytest.raises(RecipeError, match=sentence):
        Recipe.from_url(link)


def test_a_link_never_unpacks_more_than_a_recipe_can_hold():
    bomb = word(zlib.compress(b" " * (2 * MAX_JSON), 9))
    assert len(bomb) <= MAX_URL
    with pytest.raises(RecipeError, match=f"{MAX_JSON + 1} bytes long"):
        Recipe.from_url(bomb)


def test_a_recipe_too_long_for_a_link_says_so():
    text = "".join(random.Random(0).choices("abcdefghijklmnopqrstuvwxyz ", k=50_000))
    with pytest.raises(RecipeError, match="save the recipe as a file"):
        Recipe("generate", (text,)).to_url()


def test_the_largest_recipe_fits_its_own_json():
    texts = tuple("\x01" * MAX_TEXT for _ in range(MAX_ALL_TEXTS // MAX_TEXT))
    recipe = Recipe("edit", texts, options={"a": "🐉" * (MAX_OPTIONS - 100)})
    assert Recipe.from_json(recipe.to_json()) == recipe


SCHEMA = (
    Option("road", str, "flow", "The road.", choices=("flow", "decoder")),
    Option("stops", int, 9, "How many.", low=2, high=64),
    Option("time", float, 500.0, "From when.", low=0, high=1000),
    Option("kept", bool, True, "Whether."),
    Option("span", int, None, "Which tokens.", low=0, many=(2, 2)),
    Option("name", str, "", "A name.", high=10),
)


def test_options_get_the_defaults_of_their_schema():
    whole = {"road": "flow", "stops": 9, "time": 500.0, "kept": True, "span": None, "name": ""}
    assert check_options({}, SCHEMA) == whole
    assert check_options({"time": 300, "span": (1, 4), "stops": 2}, SCHEMA) == {
        **whole,
        "time": 300.0,
        "span": [1, 4],
        "stops": 2,
    }


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"speed": 1}, "an option is 'speed', expected one of road, stops"),
        ({"road": "sky"}, "options.road is 'sky', expected one of flow, decoder"),
        ({"road": None}, "options.road is None, expected a text"),
        ({"stops": 1}, "options.stops is 1, expected at least 2 and at most 64"),
        ({"stops": 2.5}, "options.stops is 2.5, expected a whole number"),
        ({"stops": True}, "options.stops is True"),
        ({"time": 1000.5}, "options.time"),
        ({"kept": 1}, "options.kept is 1, expected true or false"),
        ({"span": [1]}, "options.span is a list of 1, expected a list of 2 values"),
        ({"span": [1, -1]}, "options.span is -1"),
        ({"name": "a" * 11}, "a text of length at most 10"),
    ],
)
def test_options_against_their_schema_are_refused_by_name(options, sentence):
    with pytest.raises(RecipeError, match=sentence):
        check_options(options, SCHEMA)


def test_an_operation_without_options_takes_none():
    with pytest.raises(RecipeError, match="expected none for this operation"):
        check_options({"a": 1}, ())


def scrambled(rng: random.Random, data: bytes) -> bytes:
    """A few bytes changed, taken out or put in."""
    data = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(data))
        match rng.randrange(4):
            case 0:
                data[at] = rng.randrange(256)
            case 1:
                del data[at : at + rng.randint(1, 20)]
            case 2:
                data[at:at] = rng.choice([b"[", b"}", b'"', b"-1e999", b"null", b"\\ud800", b"\x00", b"1e5"])
            case 3:
                del data[at:]
        data = data or bytearray(b"0")
    return bytes(data)


def random_value(rng: random.Random, depth: int = 0):
    kind = rng.randrange(9 if depth < 4 else 6)
    match kind:
        case 0:
            return rng.choice([None, True, False])
        case 1:
            return rng.randint(-(10**25), 10**25)
        case 2:
            return rng.choice([0.5, -0.0, 1e300, float("inf"), float("nan")])
        case 3 | 4:
            return rng.choice(["", "generate", "euler", "\ud800", "\x00", "a" * 300, "🐉"])
        case 5:
            return rng.randint(-3, 70)
        case 6 | 7:
            return [random_value(rng, depth + 1) for _ in range(rng.randrange(4))]
    return {rng.choice(["steps", "seed", "a", ""]): random_value(rng, depth + 1) for _ in range(rng.randrange(4))}


def test_nothing_but_recipe_errors_come_out_of_any_input():
    rng = random.Random(0)
    fields = [field.name for field in dataclasses.fields(Recipe)]
    settings = [field.name for field in dataclasses.fields(SamplerSettings)]
    read = refused = 0
    for _ in range(400):
        data = RECIPE.to_dict()
        if rng.random() < 0.5:
            data[rng.choice(fields)] = random_value(rng)
        else:
            data["settings"][rng.choice(settings)] = random_value(rng)
        for attempt in (
            lambda data=data: Recipe.from_dict(data),
            lambda data=data: Recipe.from_json(json.dumps(data)),
            lambda: Recipe.from_json(scrambled(rng, RECIPE.to_json().encode())),
            lambda: Recipe.from_url(scrambled(rng, RECIPE.to_url().encode()).decode("latin-1")),
            lambda: Recipe.from_url(word(zlib.compress(scrambled(rng, RECIPE.to_json().encode())))),
        ):
            try:
                recipe = attempt()
            except RecipeError as error:
                assert str(error)
                refused += 1
            else:
                assert Recipe.from_json(recipe.to_json()) == recipe
                read += 1
    assert read > 50 and refused > 1000
