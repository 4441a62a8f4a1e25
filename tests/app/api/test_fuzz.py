"""Hundreds of random inputs for every way in (benchmarks/fuzz.py has the kinds, and more of them to run at night)."""

import pytest

from benchmarks.fuzz import Attack, nothing_left_behind
from coladlm.serve import Scheduler

EACH = 60  # of each kind


@pytest.fixture(scope="module")
def scheduler():
    scheduler = Scheduler()
    yield scheduler
    scheduler.close(grace=0)


@pytest.fixture(scope="module")
def attack(model, scheduler, tmp_path_factory):
    return Attack(model, scheduler, tmp_path_factory.mktemp("fuzz"))


KINDS = ("body", "broken body", "prompt", "recipe", "link", "interpolate", "edit", "latents", "likelihood", "trace",
         "texts")  # fmt: skip


def test_every_kind_is_tried_here(attack):
    assert tuple(attack.kinds) == KINDS


@pytest.mark.parametrize("kind", KINDS)
def test_random_inputs_get_a_result_or_a_clear_refusal(attack, scheduler, kind):
    with nothing_left_behind(scheduler, attack.folder):
        found = [attack.once(kind, seed) for seed in range(EACH)]
    assert set(found) == {"result", "refused"}  # both are reached, so that neither is the only thing tested
