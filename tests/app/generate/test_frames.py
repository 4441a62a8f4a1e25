"""Events of a run become frames: at once, not too often, and none of the words missing."""

import dataclasses
import itertools
import json

import pytest

from app.components.token_strip import Token, first_tokens, settled_line
from app.generate.frames import LiveRun, shown_prompt
from app.shared.views import FRAME_SECONDS
from coladlm import BlockDone, Finished, SamplerSettings
from coladlm.recipe import Recipe
from coladlm.run import run

from ...token_models import with_tokens

PROMPT = "Once upon a time"


def _recipe(prompt=PROMPT, **settings):
    return Recipe("generate", (prompt,), SamplerSettings(**{"steps": 4, "max_new_tokens": 10, **settings}))


def _frames(model, recipe, clock=None):
    live = LiveRun(model, recipe, **({"clock": clock} if clock else {}))
    return live, list(live.frames(run(model, recipe)))


def _settled(strip):
    return [token for line in strip["settled"].splitlines() for token in json.loads(line)]


class Clock:
    """A clock that stands still, or goes on by `step` seconds whenever it is read."""

    def __init__(self, step=0.0):
        self.now, self.step = 0.0, step

    def __call__(self):
        self.now += self.step
        return self.now


@pytest.mark.parametrize("prompt", [PROMPT, "", "a", "one two three four five six"])
def test_the_settled_words_are_the_answer(model, prompt):
    recipe = _recipe(prompt)
    answer = next(e for e in run(model, recipe) if isinstance(e, Finished))
    live, frames = _frames(model, recipe)
    assert live.answer == answer.token_ids[0]
    assert len(_settled(frames[-1].strip)) == len(answer.token_ids[0])
    assert frames[-1].strip["state"] == frames[-1].progress["state"] == "done"


def test_a_text_that_ends_inside_a_character_is_shown_to_its_last_byte(model):
    broken = 0
    for seed in range(8):
        live, frames = _frames(model, _recipe(steps=1, max_new_tokens=5, stop_at_end=False, seed=seed))
        text = model.read(live.answer)
        assert "".join(word for word, *_ in _settled(frames[-1].strip)) == text
        broken += text.endswith("\ufffd")
    assert 0 < broken < 8


def test_a_sentence_that_is_not_whole_is_taken_back_at_the_end(bundled):
    settings = dataclasses.replace(bundled.defaults, steps=2, max_new_tokens=24, whole_sentences=True)
    for prompt in ("The dog ran. He", "A girl"):
        recipe = Recipe("generate", (prompt,), settings)
        answer = next(e for e in run(bundled, recipe) if isinstance(e, Finished))
        _, frames = _frames(bundled, recipe)
        assert "".join(text for text, *_ in _settled(frames[-1].strip)) == answer.texts[0]
        assert len(_settled(frames[-2].strip)) == 24 or answer.reasons[0] == "end"


def test_the_line_says_how_many_tokens_were_written_which_the_speed_counts_and_how_many_kept(bundled):
    settings = dataclasses.replace(bundled.defaults, steps=2, max_new_tokens=24, whole_sentences=True)
    recipe = Recipe("generate", ("The dog ran. He",), settings)
    clock = Clock()
    live = LiveRun(bundled, recipe, clock=clock)
    frames = live.frames(run(bundled, recipe))
    next(frames)
    clock.now = 2.0
    *_, frame = frames
    assert frame.progress["parts"][1:4] == ["2.0 s", "12 tokens/s", "up to the last whole sentence"]
    count = len(_settled(frame.strip))
    assert count < 24 and frame.progress["parts"][0] == f"24 tokens written, {count} kept"
    assert frame.progress["message"] == f"Done: 24 tokens written, {count} kept."


@pytest.mark.parametrize("count", [0, 1, 2, 3, 5])
def test_the_first_tokens_of_settled_lines_are_lines(count):
    blocks = [[Token("a", 0.5), Token("b", 0.25)], [], [Token("c\n", 1.0)]]
    lines = "".join(map(settled_line, blocks))
    kept = first_tokens(lines, count)
    assert _settled({"settled": kept}) == _settled({"settled": lines})[:count]
    assert first_tokens(kept, count) == kept


def test_confidences_of_settled_words_are_probabilities(model):
    _, frames = _frames(model, _recipe())
    assert all(0 <= confidence <= 1 for _, confidence, *_ in _settled(frames[-1].strip))


def test_the_first_frame_comes_before_the_first_event(model):
    asked = []

    def events():
        asked.append(True)
        yield from ()

    first = next(LiveRun(model, _recipe()).frames(events()))
    assert first.progress["state"] == "running"
    assert not asked


def test_frames_keep_their_distance_but_the_first_step_and_every_block_come(model):
    _, frames = _frames(model, _recipe(), Clock())  # no time passes: no other step is due
    blocks = sum(isinstance(e, BlockDone) for e in run(model, _recipe()))
    assert len(frames) == 1 + 1 + blocks + 1
    assert frames[1].strip["live"]


def test_every_step_is_shown_where_steps_are_slow(model):
    recipe = _recipe()
    _, frames = _frames(model, recipe, Clock(2 * FRAME_SECONDS))
    events = list(run(model, recipe))
    assert len(frames) == 1 + len(events)


def test_settled_text_only_grows(model):
    _, frames = _frames(model, _recipe(), Clock(2 * FRAME_SECONDS))
    settled = [frame.strip["settled"] for frame in frames]
    assert all(after.startswith(before) for before, after in itertools.pairwise(settled))


def test_live_words_do_not_exceed_what_was_asked_for(model):
    _, frames = _frames(model, _recipe(max_new_tokens=5), Clock(2 * FRAME_SECONDS))
    assert max(len(frame.strip["live"]) + len(_settled(frame.strip)) for frame in frames) == 5


def test_progress_counts_blocks_steps_and_noise(model):
    _, frames = _frames(model, _recipe(), Clock(2 * FRAME_SECONDS))
    first = frames[1].progress
    assert first["parts"][:3] == ["block 1 of 3", "step 1 of 4", "noise 100 %"]
    fractions = [frame.progress["fraction"] for frame in frames]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1


def test_progress_says_of_how_many_noises_the_best_is_kept(model):
    named = with_tokens(model)
    for noises, said in ((3, ["the best of 3 noises"]), (1, [])):
        _, frames = _frames(named, _recipe(noises=noises, stagger=0.0), Clock(2 * FRAME_SECONDS))
        running = [frame.progress["parts"] for frame in frames[1:-1]]
        assert running and all(parts[3:-2] == said or parts[3:-1] == said for parts in running)


def test_only_the_end_of_a_long_prompt_is_shown():
    shown = shown_prompt("word " * 5000)
    assert shown.startswith("… word ")
    assert len(shown) < 400
    assert shown_prompt("short") == "short"
