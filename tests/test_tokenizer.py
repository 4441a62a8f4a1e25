"""Text is text: whatever somebody types comes back as it was, the names of special tokens included."""

import random
import string

import pytest
from tokenizers import Tokenizer

from coladlm import ColaDLM
from coladlm.checkpoint import BUNDLED, SPECIAL_TOKENS
from coladlm.latent.edit import token_span
from coladlm.recipe import Recipe
from coladlm.run import run
from coladlm.tokenizer import load_tokenizer, text_alone

TYPED = 'He typed "<|endoftext|>" and <|pad|>.'
ODD = [
    *SPECIAL_TOKENS, "<|endoftext|", "|>", "<", " ", "  ", "\t", "\n", "\r\n", "\0", "\x07", "\x1b[0m", "\x7f", "\x85",
    "\u2028", "\ufeff", "\ufffd", "\U0010ffff", "e\u0301", "é", "ﬁ", "İ", "ß", "日本語", "שלום", "مرحبا", "ไทย", "नमस्ते",
    "한국어", "\u202e", "👩\u200d🚀", "🇫🇷", "🎈", "Ġ", "Ċ", "the", " the", "The", "'s", "1234", "…",
]  # fmt: skip


def strings(count: int, seed: int = 0) -> list[str]:
    """Strings of all kinds: odd parts in any order, and any characters that Unicode has."""
    draw = random.Random(seed)

    def character() -> str:
        code = draw.randrange(0x110000 - 0x800)
        return chr(code if code < 0xD800 else code + 0x800)

    made = ["".join(draw.choices(ODD, k=draw.randint(0, 12))) for _ in range(count)]
    made += ["".join(character() for _ in range(draw.randint(0, 12))) for _ in range(count)]
    made += ["".join(draw.choices(string.printable, k=draw.randint(0, 40))) for _ in range(count)]
    return [*ODD, *made]


@pytest.fixture(scope="module", params=["golden", "bundled"])
def tokenizer(request, golden_folder) -> Tokenizer:
    return load_tokenizer((golden_folder if request.param == "golden" else BUNDLED) / "tokenizer.json")


def test_every_string_comes_back_and_holds_no_special_token(tokenizer):
    special = {tokenizer.token_to_id(token) for token in SPECIAL_TOKENS}
    for text in strings(400):
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        assert tokenizer.decode(ids, skip_special_tokens=True) == text
        assert special.isdisjoint(ids)


def test_a_batch_reads_names_as_text_too(tokenizer):
    assert [encoding.ids for encoding in tokenizer.encode_batch([TYPED])] == [tokenizer.encode(TYPED).ids]


def test_special_tokens_that_a_model_writes_are_left_out_of_the_text(tokenizer):
    end, pad = (tokenizer.token_to_id(token) for token in ("<|endoftext|>", "<|pad|>"))
    ids = tokenizer.encode("<|pad|> told", add_special_tokens=False).ids
    assert tokenizer.decode([*ids, end, pad], skip_special_tokens=True) == "<|pad|> told"


def test_what_a_file_holds_is_the_same_with_and_without(golden_folder, tmp_path):
    plain = Tokenizer.from_file(str(golden_folder / "tokenizer.json"))
    before = plain.to_str()
    assert text_alone(plain) is plain and plain.to_str() == before


def test_a_model_reads_what_it_was_given(golden_model):
    assert golden_model.read(golden_model.tokenize(TYPED)) == TYPED
    assert golden_model.encode_texts([TYPED])[0].ids.tolist() == golden_model.tokenize(TYPED)


def test_an_edit_of_other_words_keeps_the_names(golden_model):
    start, end = token_span(golden_model.tokenizer, TYPED, 3, 8)
    assert golden_model.read(golden_model.tokenize(TYPED)[start:end]) == " typed"
    recipe = Recipe.from_dict({"operation": "edit", "texts": [TYPED], "variations": 2, "settings": {"steps": 2},
                               "options": {"start": start, "end": end}})  # fmt: skip
    *_, finished = run(golden_model, recipe)
    assert all(text.endswith(' "<|endoftext|>" and <|pad|>.') for text in finished.texts)


def test_the_ends_of_a_road_keep_the_names(golden_model):
    recipe = Recipe.from_dict({"operation": "interpolate", "texts": [TYPED, "<|im_end|>"], "settings": {"steps": 2},
                               "options": {"stops": 3}})  # fmt: skip
    *_, finished = run(golden_model, recipe)
    assert (finished.texts[0], finished.texts[-1]) == (TYPED, "<|im_end|>")


@pytest.fixture(scope="module")
def golden_model(golden_folder):
    return ColaDLM.from_pretrained(golden_folder, device="cpu", dtype="float32")
