"""What is asked of CUDA when a step is captured, without a GPU: which device and stream, and what an error leaves."""

import contextlib

import pytest
import torch

from coladlm.sampling.capture import WARM_UP, capture_for, tape

DEVICE = torch.device("cuda", 1)


class Stream:
    def __init__(self, name):
        self.name, self.waited = name, []

    def wait_stream(self, other):
        self.waited.append(other.name)


class Graph:
    """A capture as torch ends one that has failed: with an error, and its stream still the current one."""

    def __init__(self, cuda, graph, pool, stream, capture_error_mode):
        assert (pool, capture_error_mode) == ("pool", "thread_local")
        self.cuda, self.stream = cuda, stream

    def __enter__(self):
        self.cuda.streams.append(self.stream)

    def __exit__(self, kind, error, trace):
        if error is not None:
            raise RuntimeError("operation failed due to a previous error during capture")
        self.cuda.streams.pop()


class Cuda:
    """CUDA with two devices, of which nothing is there but what is current."""

    def __init__(self, patch):
        self.devices, self.streams, self.seen = [0], [Stream("main of 0"), Stream("main of 1")], []
        for name in ("device", "stream", "Stream", "current_stream"):
            patch.setattr(torch.cuda, name, getattr(self, name))
        patch.setattr(torch.cuda, "CUDAGraph", lambda: self)
        patch.setattr(torch.cuda, "graph_pool_handle", lambda: "pool")
        patch.setattr(torch.cuda, "graph", lambda graph, **how: Graph(self, graph, **how))
        self.replay = object()

    @contextlib.contextmanager
    def device(self, device):
        self.devices.append(device.index)
        try:
            yield
        finally:
            self.devices.pop()

    @contextlib.contextmanager
    def stream(self, stream):
        before = list(self.streams)
        self.streams.append(stream)
        try:
            yield
        finally:
            self.streams[:] = before

    def Stream(self):
        return Stream(f"side of {self.devices[-1]}")

    def current_stream(self):
        return self.streams[-1]

    def step(self):
        self.seen.append((self.devices[-1], self.streams[-1].name))


@pytest.fixture
def cuda(monkeypatch):
    return Cuda(monkeypatch)


def test_a_step_is_captured_on_the_device_of_the_model_whatever_the_current_one_is(cuda):
    assert capture_for(DEVICE)(cuda.step) is cuda.replay
    assert cuda.seen == [(1, "side of 1")] * (WARM_UP + 1) and cuda.devices == [0]
    assert [stream.name for stream in cuda.streams] == ["main of 0", "main of 1"]
    assert cuda.streams[-1].waited == ["side of 1"]


def test_after_a_capture_that_has_failed_the_stream_is_the_one_before(cuda):
    def step():
        cuda.step()
        if len(cuda.seen) > WARM_UP:
            raise RuntimeError("operation not permitted when stream is capturing")

    with pytest.raises(RuntimeError, match="due to a previous error"):
        capture_for(DEVICE)(step)
    assert cuda.current_stream().name == "main of 1" and len(cuda.streams) == 2 and cuda.devices == [0]


def test_elsewhere_a_step_is_a_tape():
    assert capture_for(torch.device("cpu")) is tape
