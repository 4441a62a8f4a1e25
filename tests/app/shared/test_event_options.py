"""How the frames of a handler end."""

import gradio as gr

from app.components.progress_line import progress_value
from app.shared.event_options import then_nothing

READING = [gr.skip(), progress_value("running", ["reading"])]
FOUND = [{"texts": 12}, progress_value("idle", message="12 texts.")]
WRONG = [gr.skip(), progress_value("error", message="The table is broken.")]


def test_nothing_follows_a_result_or_what_is_wrong():
    assert list(then_nothing([READING, FOUND], 2)) == [READING, FOUND]
    assert list(then_nothing([READING, WRONG], 2)) == [READING, WRONG]


def test_what_is_left_in_the_middle_is_left_and_nothing_at_all_is_nulls():
    assert list(then_nothing([READING], 2)) == [READING]
    assert list(then_nothing([], 2)) == [[None, None]]
