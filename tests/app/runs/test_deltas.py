"""Patches between values."""

import json

import pytest

from app.runs.deltas import SAME, parts_patch, patch


def applied(value, change):
    """What `mergePatch` of run_state.js makes of it; the test of that name there has the same cases."""
    if "$set" in change:
        return change["$set"]
    if "$append" in change:
        return value + change["$append"]
    if "$items" in change:
        items = list(value)
        for index, one in change["$items"].items():
            items[int(index) :] = [applied(items[int(index)] if int(index) < len(items) else None, one),
                                   *items[int(index) + 1 :]]  # fmt: skip
        return items
    return {**value, **{key: applied(value.get(key), one) for key, one in change.items()}}


PAIRS = {
    "a string that grew": ("ab", "abc"),
    "another string": ("ab", "b"),
    "an empty string that grew": ("", "a"),
    "a number": (1, 2),
    "a key that changed": ({"a": 1, "b": 2}, {"a": 1, "b": 3}),
    "a key that came": ({"a": 1}, {"a": 1, "b": None}),
    "a key that went": ({"a": 1, "b": 2}, {"a": 1}),
    "a key that looks like an operation": ({"a": 1}, {"a": 1, "$set": 2}),
    "a list of values": ([1, 2], [1, 3]),
    "an item that changed and one that came": ([{"t": "a"}, {"t": "b"}], [{"t": "a"}, {"t": "bc"}, {"t": "d"}]),
    "an item that went": ([{"t": "a"}, {"t": "b"}], [{"t": "a"}]),
    "items that became values": ([{"t": "a"}], [1]),
    "nothing": (None, {"a": 1}),
    "inside of others": ({"rows": [{"text": {"s": "a"}}]}, {"rows": [{"text": {"s": "ab"}}]}),
}


@pytest.mark.parametrize("old, new", PAIRS.values(), ids=PAIRS)
def test_a_patch_makes_the_new_value_of_the_old_one(old, new):
    assert applied(old, json.loads(json.dumps(patch(old, new)))) == new


@pytest.mark.parametrize("value", ["", "a", 0, None, [], [{}], {"a": [1]}])
def test_equal_values_have_no_patch(value):
    assert patch(value, json.loads(json.dumps(value))) == SAME


def test_text_that_grows_is_sent_once():
    old = {"run": "r", "settled": "x" * 10_000, "live": []}
    assert patch(old, {**old, "settled": old["settled"] + "y"}) == {"settled": {"$append": "y"}}


def test_parts_that_stayed_are_left_out():
    assert parts_patch({"a": 1, "b": 2}, {"a": 1, "b": 3, "c": 4}) == {"b": {"$set": 3}, "c": {"$set": 4}}
