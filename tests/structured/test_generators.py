"""Instances follow from their seeds, are right by the validators, and those of tests are in no training."""

import collections
import itertools
from random import Random

import pytest

from coladlm.structured.generators import (
    TASKS,
    balanced_word,
    held_out_instances,
    is_free,
    is_held_out,
    training_instance,
)
from coladlm.structured.validators import is_balanced, is_right
from coladlm.structured.vocabulary import SPECIAL, SYMBOLS, decode, encode, make_tokenizer

EVERY = [(name, size) for name, task in TASKS.items() for size in (*task.sizes, *task.longer)]


@pytest.mark.parametrize(("task", "size"), EVERY)
def test_every_answer_is_right_by_its_validator(task, size):
    for drawn in held_out_instances(task, size, 10, seed=3):
        assert is_right(drawn.prompt, drawn.answer), drawn


def test_the_same_seed_gives_the_same_instances_and_another_gives_others():
    for task, size in EVERY[3::7]:
        assert held_out_instances(task, size, 5, 0) == held_out_instances(task, size, 5, 0)
    assert held_out_instances("copy", 8, 5, 0) != held_out_instances("copy", 8, 5, 1)
    first, second = ([training_instance(random) for _ in range(50)] for random in (Random("a"), Random("a")))
    assert first == second


def test_more_instances_begin_with_the_same():
    assert held_out_instances("json", 3, 20, 0)[:5] == held_out_instances("json", 3, 5, 0)


def test_no_instance_of_training_is_held_out_and_every_one_of_a_test_is():
    random = Random(0)
    assert not any(is_held_out(training_instance(random)) for _ in range(3000))
    for task, size in EVERY:
        drawn = held_out_instances(task, size, 5, 0)
        assert drawn and all(is_held_out(x) or is_free(task) for x in drawn)


def test_test_instances_have_different_prompts_where_prompts_differ():
    for task, size in EVERY:
        drawn = held_out_instances(task, size, 12, 0)
        assert is_free(task) or len({x.prompt for x in drawn}) == len(drawn)


def test_training_has_every_task_in_every_one_of_its_sizes_and_in_no_other():
    random = Random(0)
    seen = {(x.task, x.size) for x in (training_instance(random) for _ in range(4000))}
    assert seen == {(name, size) for name, task in TASKS.items() for size in task.sizes}


def test_balanced_words_are_drawn_evenly():
    """The five words of six brackets, each within five standard deviations of a fifth."""
    random = Random(0)
    drawn = collections.Counter(balanced_word(random, 1, 6) for _ in range(5000))
    words = map("".join, itertools.product("()", repeat=6))
    assert set(drawn) == {word for word in words if is_balanced(word, "()")} and len(drawn) == 5
    assert all(abs(count - 1000) < 5 * 28.3 for count in drawn.values())


def test_a_word_of_odd_length_is_refused():
    with pytest.raises(ValueError, match="has 7 brackets"):
        balanced_word(Random(0), 1, 7)


def test_a_prefix_is_never_complete_already():
    for drawn in held_out_instances("close1", 16, 50, 0):
        assert not is_balanced(drawn.prompt[3:], "()") and drawn.answer


def test_the_tokenizer_has_a_token_for_each_symbol_and_reads_them_back():
    tokenizer = make_tokenizer()
    assert tokenizer.get_vocab_size() == len(SPECIAL) + len(SYMBOLS) == len(set(SYMBOLS)) + 3
    for task, size in EVERY:
        for drawn in held_out_instances(task, size, 2, 0):
            text = drawn.prompt + drawn.answer
            ids = encode(text)
            assert tokenizer.encode(text).ids == ids and tokenizer.decode(ids) == decode(ids) == text


def test_a_special_token_stands_in_a_decoded_text_by_its_name():
    assert decode([*encode("ab"), 2, 0]) == "ab<|pad|><|endoftext|>"


def test_a_character_that_is_no_symbol_is_named():
    with pytest.raises(ValueError, match="'€'"):
        encode("a€")
