"""Who has the next turn, on a clock that the tasks move themselves."""

import threading

import pytest

from coladlm.serve.metrics import Metrics
from coladlm.serve.turns import Turns


class Ticking:
    """A task of so many turns of so many seconds each, which writes down when it has had one."""

    def __init__(self, turns: "Stopped", name: str, seconds: float, count: int, weight: int = 1) -> None:
        self.turns, self.name, self.seconds, self.left, self.weight = turns, name, seconds, count, weight

    def turn(self) -> None:
        self.turns.time += self.seconds
        self.turns.had.append(self.name)
        self.left -= 1
        if self.left:
            self.turns.add(self)

    def fail(self, error: Exception) -> None:
        raise error


class Stopped(Turns):
    """Turns that begin when all tasks are there."""

    def __init__(self) -> None:
        self.time, self.had = 0.0, []
        super().__init__(threading.RLock(), Metrics(), lambda: self.time)

    def order(self, *tasks: Ticking) -> str:
        with self._lock:
            for task in tasks:
                self.add(task)
        self.stop()
        return "".join(self.had)


@pytest.fixture
def turns() -> Stopped:
    return Stopped()


def test_of_equal_turns_each_task_has_one_after_the_other(turns):
    order = turns.order(*(Ticking(turns, name, 1.0, 4) for name in "abc"))
    assert order == 4 * "abc"


def test_short_turns_come_more_often_so_that_time_is_shared(turns):
    order = turns.order(Ticking(turns, "L", 10.0, 4), Ticking(turns, "s", 1.0, 20))
    assert order == "L" + 10 * "s" + "L" + 10 * "s" + "LL"


def test_a_batch_has_time_for_each_of_its_requests(turns):
    order = turns.order(Ticking(turns, "B", 1.0, 7, weight=4), Ticking(turns, "a", 1.0, 2))
    assert order == "BaBBBaBBB"


def test_who_comes_late_has_no_time_to_catch_up_with(turns):
    late = Ticking(turns, "l", 1.0, 3)
    brings = Ticking(turns, "f", 1.0, 4)
    turn = brings.turn

    def bring() -> None:
        turn()
        if not brings.left:
            turns.add(late)

    brings.turn = bring
    assert turns.order(brings, Ticking(turns, "g", 1.0, 7)) == "fgfgfgf" + "glglglg"
