"""The second stream of a device: what waits for what. Without a GPU, by streams and events that note what is asked."""

import contextlib

import pytest
import torch

from coladlm.hardware.side_stream import CudaSide, InOrder, held_here, side_of

DEVICE = torch.device("cuda", 1)


class Event:
    def __init__(self, name, asked):
        self.name, self.asked = name, asked

    def synchronize(self):
        self.asked.append(f"the host waits for {self.name}")


class Stream:
    def __init__(self, name, asked):
        self.name, self.asked, self.device, self.events = name, asked, DEVICE, 0

    def wait_stream(self, other):
        self.asked.append(f"{self.name} waits for {other.name}")

    def wait_event(self, event):
        self.asked.append(f"{self.name} waits for {event.name}")

    def record_event(self):
        self.events += 1
        return Event(f"event {self.events} of {self.name}", self.asked)


class OnDevice:
    """A tensor of a GPU, as far as it is held."""

    is_cuda, device = True, DEVICE

    def __init__(self):
        self.held_by = []

    def record_stream(self, stream):
        self.held_by.append(stream.name)


@pytest.fixture
def asked(monkeypatch):
    """What is asked of the streams of a GPU that is not there, in its order."""
    asked = []
    current = [Stream("main", asked)]

    @contextlib.contextmanager
    def stream(other):
        current.append(other)
        try:
            yield
        finally:
            current.pop()

    monkeypatch.setattr(torch.cuda, "Stream", lambda device: Stream("side", asked))
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: current[-1])
    monkeypatch.setattr(torch.cuda, "stream", stream)
    return asked


def test_the_side_begins_after_the_main_stream_and_only_who_changes_or_wants_something_waits(asked):
    side, read, made = side_of(DEVICE), OnDevice(), OnDevice()
    assert isinstance(side, CudaSide)
    with side.work() as work:
        held_here(read)
        work.before_changes()  # of itself: there is nothing to wait for yet
    assert asked == ["side waits for main"] and read.held_by == ["side"]
    work.before_changes()
    assert asked[1:] == ["main waits for event 1 of side"]
    work.wait(made)
    assert asked[2:] == ["the host waits for event 1 of side"] and made.held_by == ["main"]


def test_what_an_error_has_cut_off_is_waited_for_as_well(asked):
    side = CudaSide(DEVICE)
    with pytest.raises(ZeroDivisionError), side.work() as work:
        raise ZeroDivisionError
    work.before_changes()
    assert asked == ["side waits for main", "main waits for event 1 of side"]


def test_other_devices_have_no_side(asked):
    side = side_of(torch.device("cpu"))
    assert isinstance(side, InOrder)
    with side.work() as work:
        x = torch.ones(2)
        held_here(x)
    work.before_changes()
    work.wait(x)
    assert asked == []
