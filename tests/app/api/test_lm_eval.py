"""lm-evaluation-harness itself against the API, over HTTP: its local-completions gets our own numbers."""

import dataclasses

import lm_eval
import pytest
from lm_eval.api.instance import Instance
from lm_eval.models.openai_completions import LocalCompletionsAPI
from lm_eval.tasks import TaskManager

from app.api import prompt_scores
from app.api.openai_api import ApiOptions
from coladlm.evaluate.text_likelihood import text_bound
from coladlm.evaluate.token_scores import SCORING, token_scores

from ...evaluate.harness_tasks import ROWS, write_tasks

SEED = 7
SETTINGS = dataclasses.replace(SCORING, seed=SEED, draws=2)


@pytest.fixture(scope="module")
def harness(serve_api, model):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prompt_scores, "SCORING", SETTINGS)  # few draws, for time's sake
        address = f"{serve_api(ApiOptions())}/v1/completions"
        yield LocalCompletionsAPI(base_url=address, model=model.name, batch_size=3, seed=SEED)


@pytest.fixture(scope="module")
def evaluated(harness, tmp_path_factory):
    folder = write_tasks(tmp_path_factory.mktemp("tasks"))
    manager = TaskManager(include_path=str(folder), include_defaults=False)
    return lm_eval.simple_evaluate(
        harness, tasks=["tiny_choice", "tiny_answer"], task_manager=manager, bootstrap_iters=0, log_samples=True
    )


def test_the_server_tells_the_harness_its_tokenizer(harness, model):
    assert harness.tokenizer_backend == "remote"
    assert harness.prefix_token_id == model.end_ids[0]


def test_choices_are_scored_by_sums_of_our_bounds(evaluated, model):
    right = []
    for row, sample in zip(ROWS, evaluated["samples"]["tiny_choice"], strict=True):
        start, totals = len(model.tokenize(row["question"])), []
        for choice, ((value, greedy),) in zip(row["choices"], sample["resps"], strict=True):
            ids = model.tokenize(f"{row['question']} {choice}")
            scores = token_scores(model, ids, (), SETTINGS)
            assert value == pytest.approx(sum(scores.log_probs[start:]))
            pairs = zip(scores.log_probs[start:], scores.rivals[start:], strict=True)
            assert greedy == all(own >= rival for own, (_, rival) in pairs)
            totals.append(value)
        right.append(totals.index(max(totals)) == row["answer"])
    assert evaluated["results"]["tiny_choice"]["acc,none"] == sum(right) / len(right)


def test_answers_are_the_samplers(evaluated, model):
    settings = dataclasses.replace(model.defaults, max_new_tokens=7, temperature=0.0, seed=SEED)
    for row, sample in zip(ROWS, evaluated["samples"]["tiny_answer"], strict=True):
        [text] = model.generate([row["question"]], settings)
        assert sample["resps"] == [[text.split("e")[0]]]


def test_a_whole_text_is_bounded_from_its_beginning(harness, model):
    [found] = harness.loglikelihood_rolling([Instance("", {}, ("A small dog ran.",), 0)], disable_tqdm=True)
    assert found == pytest.approx(-text_bound(model, "A small dog ran.", "", SETTINGS).nats)
