"""lm-evaluation-harness itself, on a small model in this process: what it gets are our own numbers."""

import dataclasses

import lm_eval
import pytest
from lm_eval.api.instance import Instance
from lm_eval.tasks import TaskManager

from coladlm.evaluate.lm_eval_adapter import ColaDLMHarness
from coladlm.evaluate.stories import EvaluationError
from coladlm.evaluate.text_likelihood import BoundSettings, text_bound
from coladlm.evaluate.token_scores import SCORING, token_scores

from .harness_tasks import ROWS, write_tasks

DRAWS = dataclasses.replace(SCORING, draws=2)


@pytest.fixture(scope="module")
def harness(model):
    return ColaDLMHarness(model=model, draws=2, steps=2, batch_size=2)


@pytest.fixture(scope="module")
def evaluated(harness, tmp_path_factory):
    """What the harness finds in its own words: results and samples."""
    folder = write_tasks(tmp_path_factory.mktemp("tasks"))
    manager = TaskManager(include_path=str(folder), include_defaults=False)
    with pytest.MonkeyPatch.context() as patch:  # pip, gcc and others say what this machine is: it takes longer
        patch.setattr("lm_eval.evaluator.add_env_info", lambda results: None)
        return lm_eval.simple_evaluate(
            harness, tasks=["tiny_choice", "tiny_answer"], task_manager=manager, bootstrap_iters=0, log_samples=True
        )


def asked(*args):
    return Instance("", {}, args, 0)


def test_choices_are_scored_by_our_bounds(evaluated, model):
    right = []
    for row, sample in zip(ROWS, evaluated["samples"]["tiny_choice"], strict=True):
        context = model.tokenize(row["question"])
        totals = []
        for choice, ((value, greedy),) in zip(row["choices"], sample["resps"], strict=True):
            ids = model.tokenize(f"{row['question']} {choice}")[len(context) :]
            scores = token_scores(model, ids, context, DRAWS)
            assert value == pytest.approx(scores.total) == pytest.approx(-text_bound(model, ids, context, DRAWS).nats)
            assert greedy == scores.greedy
            totals.append(value)
        right.append(totals.index(max(totals)) == row["answer"])
    assert evaluated["results"]["tiny_choice"]["acc,none"] == sum(right) / len(right)


def test_answers_are_the_samplers(evaluated, model):
    settings = dataclasses.replace(model.defaults, steps=2, max_new_tokens=7, temperature=0.0)
    for number, (row, sample) in enumerate(zip(ROWS, evaluated["samples"]["tiny_answer"], strict=True)):
        [text] = model.generate([row["question"]], settings, sequences=[number])
        assert sample["resps"] == [[text.split("e")[0]]]


def test_a_whole_text_is_bounded_from_its_beginning(harness, model):
    text = "A small dog ran."
    [found] = harness.loglikelihood_rolling([asked(text)])
    assert found == pytest.approx(-text_bound(model, text, "", DRAWS).nats)
    [(alone, _)] = harness.loglikelihood([asked("", text)])  # the harness puts an end token there
    assert alone == pytest.approx(found)


def test_a_text_beyond_the_window_is_bounded_in_windows(model):
    text = "A small dog ran there."
    ids = model.tokenize(text)
    most = len(ids) - 2  # tokens of a window, one of which is its context
    [found] = ColaDLMHarness(model=model, draws=2, max_length=most + 1).loglikelihood_rolling([asked(text)])
    windows = [([], ids[:most]), (ids[1:most], ids[most:])]
    assert found == pytest.approx(-sum(text_bound(model, part, before, DRAWS).nats for before, part in windows))


def test_of_a_long_context_the_end_counts(model):
    ids = model.tokenize("A small dog ran there.")
    room = ColaDLMHarness(model=model, draws=2, max_length=6)
    [(found, _)] = room.loglikelihood([asked("A small dog ran", " there.")])
    scored = ids[len(model.tokenize("A small dog ran")) :]
    context = model.tokenize("A small dog ran")[len(scored) - 6 :]
    assert found == pytest.approx(token_scores(model, scored, context, DRAWS).total)


def test_a_wish_that_the_sampler_lacks_is_refused_by_name(harness):
    with pytest.raises(EvaluationError, match="a task asks for num_beams, expected some of until"):
        harness.generate_until([asked("A cat", {"num_beams": 4})])


def test_a_task_may_ask_for_chance(harness, model):
    settings = dataclasses.replace(model.defaults, steps=2, max_new_tokens=5, temperature=0.7, top_k=9)
    wish = {"do_sample": True, "temperature": 0.7, "top_k": 9, "max_new_tokens": 5, "until": "never to be found"}
    assert harness.generate_until([asked("A cat", wish)]) == model.generate(["A cat"], settings, sequences=[0])


def test_scores_have_rivals_by_the_same_draws(model):
    ids, context = model.tokenize(" was sad and it ran"), model.tokenize("The cat")
    scores = token_scores(model, ids, context, DRAWS)
    assert scores.ids == tuple(ids) and len(scores.rivals) == len(ids)
    assert all(rival != own for own, (rival, _) in zip(ids, scores.rivals, strict=True))
    first = token_scores(model, [scores.rivals[0][0], *ids[1:]], context, DRAWS)
    assert first.log_probs[0] == pytest.approx(scores.rivals[0][1], rel=1e-4)
    assert scores.greedy == all(own >= other for own, (_, other) in zip(scores.log_probs, scores.rivals, strict=True))
    with pytest.raises(EvaluationError, match="order is 'blocks', expected tokens"):
        token_scores(model, ids, context, BoundSettings(order="blocks"))
