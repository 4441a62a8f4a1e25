"""Validators against right and wrong answers that were found by hand."""

import pytest

from coladlm.structured.validators import first_error, first_unbalanced, is_balanced, is_right

RIGHT = [
    ("F1:8=", "(())()()"),
    ("F1:8=", "()()()()"),
    ("F2:8=", "([])[()]"),
    ("F2:8=", "(((())))"),
    ("F3:8=", "{[()]}{}"),
    ("P1:((", "))"),
    ("P1:((", ")())"),
    ("P2:([()", "])"),
    ("P2:([()", "][])[]"),
    ("P3:{[(", ")]}"),
    ("C:abca=", "abca"),
    ("R:abcd=", "dcba"),
    ("S:cabc=", "abcc"),
    ("K:a37b12c99?b=", "12"),
    ("K:a37b12c07?c=", "07"),
    ("A:37+58=", "95"),
    ("A:5-5=", "0"),
    ("A:12-40=", "-28"),
    ("A:999+999=", "1998"),
    ("J:an=", '{"a":7}'),
    ("J:an=", '{"a":0}'),
    ("J:an,bs=", '{"a":37,"b":"kx"}'),
    ("J:an,bs=", '{"b":"kx","a":37}'),
    ("J:ct,dl=", '{"c":true,"d":[1,2,3]}'),
    ("J:ct,dl=", '{"c":false,"d":[0]}'),
]
WRONG = [
    ("F1:8=", ""),
    ("F1:8=", "(())()"),  # balanced, but six
    ("F1:8=", "(())()()()"),  # ten
    ("F1:8=", "(()))(()"),  # closed before it is opened
    ("F1:8=", "((((()))"),  # one is left open
    ("F1:8=", "[]()()()"),  # a kind that was not asked for
    ("F2:8=", "([)]()()"),  # crossed
    ("F2:8=", "{}()[]()"),
    ("F3:8=", "{[()]}{a"),
    ("F3:8=", "{[()]}{}<|pad|>"),
    ("P1:((", ")"),
    ("P1:((", ")))"),
    ("P1:((", ""),
    ("P2:([()", ")]"),
    ("P2:([()", "]){}"),  # a third kind
    ("P3:{[(", "]}"),
    ("C:abca=", "abc"),
    ("C:abca=", "abcaa"),
    ("C:abca=", "abcb"),
    ("R:abcd=", "abcd"),
    ("R:abcd=", "dcb"),
    ("S:cabc=", "abc"),
    ("S:cabc=", "abbc"),
    ("S:cabc=", "abccc"),
    ("K:a37b12c99?b=", "37"),
    ("K:a37b12c99?b=", "1"),
    ("K:a37b12c99?b=", "12c"),
    ("A:37+58=", "85"),
    ("A:37+58=", "095"),
    ("A:5-5=", "-0"),
    ("A:12-40=", "28"),
    ("J:an=", ""),
    ("J:an=", '{"a":7'),
    ("J:an=", '{"a":07}'),  # no number of JSON
    ("J:an=", '{"a":-1}'),
    ("J:an=", '{"a":-0}'),
    ("J:an=", '{"a":100}'),
    ("J:an=", '{"a":true}'),  # true is no number
    ("J:an=", '{"a":"7"}'),
    ("J:an=", '{"a":7,"a":8}'),  # twice
    ("J:an=", '{"a":7,"b":8}'),
    ("J:an=", '{"b":7}'),
    ("J:an=", "[7]"),
    ("J:an=", "7"),
    ("J:an,bs=", '{"a":37}'),
    ("J:an,bs=", '{"a":37,"b":"k1"}'),
    ("J:an,bs=", '{"a":37,"b":""}'),
    ("J:an,bs=", '{"a":37,"b":"abcd"}'),
    ("J:ct,dl=", '{"c":0,"d":[1]}'),
    ("J:ct,dl=", '{"c":true,"d":[]}'),
    ("J:ct,dl=", '{"c":true,"d":[1,2,3,4]}'),
    ("J:ct,dl=", '{"c":true,"d":[12]}'),
    ("J:ct,dl=", '{"c":true,"d":[true]}'),
]


@pytest.mark.parametrize(("prompt", "answer"), RIGHT)
def test_a_right_answer_is_right(prompt, answer):
    assert is_right(prompt, answer)


@pytest.mark.parametrize(("prompt", "answer"), WRONG)
def test_a_wrong_answer_is_wrong(prompt, answer):
    assert not is_right(prompt, answer)


@pytest.mark.parametrize(("prompt", "answer"), [(p, a) for p, a in RIGHT + WRONG if p[0] != "J"])
def test_an_answer_is_right_where_nothing_of_it_is_wrong(prompt, answer):
    assert (first_error(prompt, answer) is None) == is_right(prompt, answer)


@pytest.mark.parametrize(
    ("prompt", "answer", "place"),
    [
        ("C:abca=", "abca", None),
        ("C:abca=", "abcb", 3),
        ("C:abca=", "abc", 3),  # too short: it is the end that is wrong
        ("C:abca=", "abcaa", 4),
        ("R:abcd=", "xcba", 0),
        ("S:cabc=", "aabc", 1),
        ("K:a37b12?b=", "13", 1),
        ("A:37+58=", "98", 1),
        ("P1:((", ")))", 2),
        ("P1:((", ")(", 2),
        ("P2:([()", ")]", 0),
        ("F1:8=", "((((((((", 4),  # the fifth can no longer be closed within eight
        ("F1:8=", "(())()", 6),
        ("F1:8=", "(())()()()", 8),
        ("F2:8=", "([)]()()", 2),
    ],
)
def test_the_first_error_is_where_no_right_answer_goes_on_like_this(prompt, answer, place):
    assert first_error(prompt, answer) == place


def test_an_object_has_no_first_error():
    with pytest.raises(ValueError, match="as a whole"):
        first_error("J:an=", '{"a":7}')


def test_an_unknown_prompt_is_refused():
    with pytest.raises(ValueError, match="'X:1='"):
        is_right("X:1=", "1")


@pytest.mark.parametrize(
    ("word", "kinds", "place"),
    [("", "()", None), ("()", "()", None), ("(", "()", 1), (")", "()", 0), ("(]", "()[]", 1), ("()a", "()", 2)],
)
def test_balance_by_hand(word, kinds, place):
    assert first_unbalanced(word, kinds) == place and is_balanced(word, kinds) == (place is None)


@pytest.mark.parametrize("opened", ["[", '{"a":', '{"a":['])
def test_brackets_within_brackets_are_wrong_however_many(opened):
    assert not is_right("J:an=", opened * 100_000)


@pytest.mark.parametrize(
    ("prompt", "wanted"),
    [("", "begins with one of F P C R S K A J"), ("X:1=", "begins with one of"), ("F", "one like F"),
     ("F4:8=", "one like F"), ("F1:=", "one like F"), ("F1:7=", "an even number of brackets from 2"),
     ("F1:0=", "an even number"), ("P", "one like P"), ("P9:((", "one like P"),
     ("P1:([", "the beginning of a balanced word"), ("P1:())", "the beginning of a balanced word"),
     ("C", "one like C"), ("C:ab", "one like C"), ("R:aB=", "one like R"), ("S:=", "one like S"),
     ("K:a37b12?c=", "a key that is among the pairs"), ("K:a37a12?a=", "each key once"), ("K:a3?a=", "one like K"),
     ("A:1+=", "one like A"), ("A:1*2=", "one like A"), ("A:1-2", "one like A"),
     ("J:=", "one like J"), ("J:ax=", "one like J"), ("J:an,an=", "each key once")],
)  # fmt: skip
@pytest.mark.parametrize("judge", [is_right, first_error])
def test_a_prompt_of_no_task_is_refused(judge, prompt, wanted):
    with pytest.raises(ValueError, match=wanted):
        judge(prompt, "1")
