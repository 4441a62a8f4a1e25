"""A cluster of Ray: its replica and its front are replaced while both are busy, and then one of two replicas is killed.

Every process of Ray imports for seconds: so there are few, none waits for work, and those that run our code are forked
from one that has imported the libraries.
"""

import asyncio
import contextlib
import dataclasses
import functools
import json
import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import httpx
import pytest

from app.api.prompt_scores import score_steps
from coladlm.serve.replayed import LostReplicaError

from .api.forked_python import forked_python
from .api.server_process import free_port

ROOT = Path(__file__).parents[2]
TOKENS, STEPS, VISITORS = 160, 4, 6
WORKER = "default_worker.py"  # the script of Ray that becomes a controller, a proxy, a replica or a front
# What all of these import beside our modules. `ray.serve` is not among it: its import draws one of Ray's random
# numbers, and processes that are forked after it would all go on from there, with the same numbers for what they store.
LIBRARIES = ("torch", "ray", "pandas", "fastapi", "grpc", "uvicorn", "httpx")


@pytest.fixture(scope="module")
def cluster(golden_folder, tmp_path_factory):
    """The address of a front before one replica with the small random checkpoint, and what they were started with."""
    with pytest.MonkeyPatch.context() as patch, contextlib.ExitStack() as stack:
        patch.setenv("PYTHONPATH", str(ROOT))  # of the processes that Ray starts
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_AUTH_MODE", "disabled")
        patch.setenv("RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S", "60")  # a busy machine
        import ray
        from ray import serve
        from ray._private.parameter import RayParams

        from app.cluster.options import ClusterOptions

        port = free_port()
        workers = stack.enter_context(forked_python(tmp_path_factory.mktemp("workers"), WORKER, LIBRARIES))
        with patch.context() as starting:
            starting.setattr("sys.executable", workers)
            # nothing here reads the logs of other processes, or adds machines
            less = functools.partial(RayParams, include_log_monitor=False, no_monitor=True)
            starting.setattr("ray._private.parameter.RayParams", less)
            start(ray)
        serve.start(http_options={"port": port, "host": "127.0.0.1"})
        options = ClusterOptions(checkpoint=str(golden_folder), device="cpu", dtype="float32", min_replicas=1,
                                 max_replicas=1, cpus=0.5)  # fmt: skip
        deploy(options)
        yield f"http://127.0.0.1:{port}", options
        replicas().shutdown()  # or its thread goes on asking a cluster that has gone
        ray.shutdown()  # and not Serve first, which gives everything seconds to end by itself


class Restart(NamedTuple):
    """The processes of the replicas before and after it, and what visitors were given meanwhile, by their seed."""

    before: list[int]
    after: list[int]
    texts: list[list[str]]


@pytest.fixture(scope="module")
def restart(cluster):
    """Replica and front are replaced by those of other options, with two replicas, while visitors keep coming."""
    address, options = cluster
    before, done = processes(1), threading.Event()
    with ThreadPoolExecutor(1) as visitors:
        asked = visitors.submit(lambda: asyncio.run(until(done, address)))
        try:
            deploy(options.model_copy(update={"min_replicas": 2, "max_replicas": 2}))
            after = processes(2)
        finally:
            done.set()
        return Restart(before, after, asked.result())


def deploy(options):
    """Starts the application, or replaces the one that runs; returns when the new one takes requests."""
    from ray import serve

    from app.ray import app

    serve.run(app(options), name="cola")


@functools.cache
def replicas():
    """What asks the replicas from here."""
    from ray import serve

    return serve.get_deployment_handle("Replica", "cola")


def processes(count):
    """The processes of so many replicas."""
    found = set()
    while len(found) < count:
        found.add(elsewhere(lambda: replicas().pid.remote().result()))
    return sorted(found)


def elsewhere(call):
    """What a call returns in a thread of its own: a test before this one may have left this thread an event loop."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(call).result()


def start(ray, tries=3):
    """Starts a cluster of this machine alone. Ray gives its agent 15 s to begin; a busy machine may need more."""
    for left in reversed(range(tries)):
        try:
            return ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="error",
                            object_store_memory=80 << 20)  # fmt: skip
        except Exception as error:
            ray.shutdown()
            if not left or "timed out during startup" not in str(error):
                raise


async def ask(client, seed, begun=None):
    """The text of a request, written with this seed; as a stream where there is an event to set at its first words."""
    body = {"prompt": "Once upon a time", "max_tokens": TOKENS, "steps": STEPS, "seed": seed, "stop_at_end": False}
    if begun is None:
        answer = await client.post("/v1/completions", json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()["choices"][0]["text"]
    text, ended = "", False
    async with client.stream("POST", "/v1/completions", json={**body, "stream": True}) as answer:
        async for line in answer.aiter_lines():
            assert "error" not in line, line
            if line.startswith("data: {"):
                text += json.loads(line[6:])["choices"][0]["text"]
                if text:
                    begun.set()
            ended = line == "data: [DONE]" or (ended and not line)
    assert ended
    return text


async def under_load(address, working):
    """The texts of visitors who come together; when those who read streams have read a word, that one of the replicas'
    processes is killed which has worked more: one without a run would be missed by nobody.
    """
    from benchmarks.replicas import processor_seconds

    before = {process: processor_seconds(process) for process in working}
    async with httpx.AsyncClient(base_url=address, timeout=120) as client:
        begun = [asyncio.Event() if seed % 2 else None for seed in range(VISITORS)]
        asked = [asyncio.create_task(ask(client, seed, event)) for seed, event in enumerate(begun)]
        await asyncio.gather(*(event.wait() for event in begun if event is not None))
        busiest = max(working, key=lambda process: processor_seconds(process) - before[process])
        os.kill(busiest, signal.SIGKILL)
        texts = await asyncio.gather(*asked)
        return texts, (await client.get("/metrics")).text


async def until(done, address):
    """The texts of visitors who come one after another until `done`, by their seed: whole ones and streams."""
    async with httpx.AsyncClient(base_url=address, timeout=120) as client:

        async def one_after_another(seed):
            texts = []
            while not done.is_set() or len(texts) < 2:
                texts.append(await ask(client, seed, asyncio.Event() if seed else None))
            return texts

        return await asyncio.gather(*(one_after_another(seed) for seed in range(2)))


@functools.cache
def alone(model, seed):
    settings = dataclasses.replace(model.defaults, max_new_tokens=TOKENS, steps=STEPS, stop_at_end=False,
                                   whole_sentences=False, seed=seed)  # fmt: skip
    return model.generate(["Once upon a time"], settings)[0]


def test_the_front_refuses_and_scores_as_one_server_does(cluster, model):
    address, _ = cluster
    refused = httpx.post(f"{address}/v1/completions", json={"prompt": "a", "steps": 0}, timeout=60)
    assert refused.status_code == 400 and "steps is 0" in refused.json()["error"]["message"]
    body = {"prompt": "The cat", "max_tokens": 0, "echo": True, "logprobs": 1, "seed": 1}
    answer = httpx.post(f"{address}/v1/completions", json=body, timeout=60).json()
    *_, (scores,) = score_steps(model, [model.tokenize("The cat")], 1)
    assert answer["choices"][0]["logprobs"]["token_logprobs"] == pytest.approx(list(scores.log_probs), abs=1e-4)


def test_no_text_is_lost_in_a_rolling_restart(restart, model):
    assert not set(restart.before) & set(restart.after)
    for seed, written in enumerate(restart.texts):
        assert set(written) == {alone(model, seed)}


def test_no_text_is_lost_with_a_replica_that_is_killed(cluster, restart, model):
    address, _ = cluster
    texts, metrics = elsewhere(lambda: asyncio.run(under_load(address, restart.after)))
    assert texts == [alone(model, seed) for seed in range(VISITORS)]
    replays = next(line for line in metrics.splitlines() if line.startswith("coladlm_replayed_total"))
    assert int(replays.split()[1]) > 0


class Sent:
    """A stream of a replica that sends two things and then raises an error."""

    def __init__(self, error):
        self.error, self.cancelled = error, False

    def __iter__(self):
        yield from (1, 2)
        raise self.error

    def cancel(self):
        self.cancelled = True


def read(sent) -> list:
    """What comes of a stream of the method `run` of a replica, up to its error, which is raised."""
    from app.ray import streamed

    method = SimpleNamespace(remote=lambda *arguments: sent)
    found = streamed(SimpleNamespace(options=lambda stream: SimpleNamespace(run=method)), "run", {})
    assert [next(found), next(found)] == [1, 2]
    return list(found)


def test_what_ray_raises_where_a_replica_or_its_machine_is_lost_leads_to_a_replay():
    from ray import exceptions
    from ray.serve.exceptions import ReplicaUnavailableError

    lost = [
        exceptions.ActorDiedError(), exceptions.ActorUnavailableError("no answer", None), exceptions.RayActorError(),
        exceptions.WorkerCrashedError(), exceptions.OutOfMemoryError("killed"), exceptions.NodeDiedError("gone"),
        exceptions.LocalRayletDiedError(), exceptions.RpcError("unavailable"), ReplicaUnavailableError("one"),
        exceptions.ObjectReconstructionFailedError("ab"),
        *(kind("ab", None, "") for kind in (exceptions.ObjectLostError, exceptions.OwnerDiedError,
                                            exceptions.ObjectFetchTimedOutError)),
    ]  # fmt: skip
    for error in lost:
        sent = Sent(error)
        with pytest.raises(LostReplicaError) as found:
            read(sent)
        assert found.value.__cause__ is error and sent.cancelled


def test_what_would_come_again_does_not_lead_to_a_replay():
    from ray.exceptions import RayTaskError
    from ray.serve.exceptions import BackPressureError, RequestCancelledError

    own = RayTaskError("run", "Traceback ...", KeyError("a fault of the replica")).as_instanceof_cause()
    for error in (own, BackPressureError(1, 1), RequestCancelledError("one"), RuntimeError("a fault of the front")):
        sent = Sent(error)
        with pytest.raises(type(error)) as found:
            read(sent)
        assert found.value is error and sent.cancelled


def test_options_that_make_no_sense_are_refused():
    from pydantic import ValidationError

    from app.cluster.options import ClusterOptions

    with pytest.raises(ValidationError, match="max_replicas is 1, expected at least min_replicas, 3"):
        ClusterOptions(min_replicas=3, max_replicas=1)
    assert ClusterOptions(batch=8, max_replicas=4).front_limits().running == 64
