"""How throughput grows with replicas on a cluster of this machine: `python -m benchmarks.replicas --replicas 1 2`.

Needs the extra `ray`, and Linux for the processor's seconds. Each number of replicas answers the same requests over
HTTP, all sent at once. A replica computes with one thread, so as many as there are idle cores can be faster together.
First it prints what crosses from a replica to the front for one request, pickled: as a plain completion asks for it,
and with every step and all logits.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import logging
import os
import pickle
import time
from pathlib import Path

import httpx
import ray
from ray import serve

from app.cluster.options import ClusterOptions
from app.ray import app
from coladlm import ColaDLM
from coladlm.recipe import Recipe
from coladlm.serve.carried import carried_events

ROOT = Path(__file__).parents[1]
NAME, PORT = "replicas", 8765
TICKS = os.sysconf("SC_CLK_TCK")


def processor_seconds(process: int) -> float:
    """What a process has used so far, all its threads together."""
    fields = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def processes(count: int) -> set[int]:
    """The numbers of the replicas' processes."""
    handle, found = serve.get_deployment_handle("Replica", NAME), set()
    while len(found) < count:
        found.add(handle.pid.remote().result())
    handle.shutdown()  # or its thread goes on asking a cluster that has gone
    return found


def process_of(title: str) -> int:
    """The number of the process that Ray has given a name with this in it."""
    for line in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if title in line.read_text():
                return int(line.parent.name)
        except OSError:  # it has ended meanwhile
            continue
    raise SystemExit(f"found no process of the name {title}")


def crossing(tokens: int) -> str:
    """Events and bytes of one request."""
    model = ColaDLM.from_pretrained(device="cpu")
    settings = dataclasses.replace(model.defaults, max_new_tokens=tokens, stop_at_end=False)
    recipe = Recipe("generate", ("Once upon a time",), settings)
    sizes = []
    for steps, logits in (("none", False), ("all", True)):
        events = [pickle.dumps(event) for event in carried_events(model, recipe, steps, logits) if event is not None]
        sizes.append(f"{len(events)} events, {sum(map(len, events)) / 1000:,.0f} kB")
    return f"A request of {tokens} tokens sends {sizes[0]}; with every step and all logits {sizes[1]}"


async def ask(client: httpx.AsyncClient, seed: int, tokens: int) -> int:
    """The tokens of one answer."""
    body = {"prompt": "Once upon a time", "max_tokens": tokens, "seed": seed, "stop_at_end": False}
    answer = await client.post("/v1/completions", json=body)
    answer.raise_for_status()
    return answer.json()["usage"]["completion_tokens"]


async def ask_all(requests: int, tokens: int) -> int:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{PORT}", timeout=600) as client:
        return sum(await asyncio.gather(*(ask(client, seed, tokens) for seed in range(requests))))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--replicas", type=int, nargs="+", default=[1, 2], help="(%(default)s)")
    parser.add_argument("--requests", type=int, default=32, help="sent at once (%(default)s)")
    parser.add_argument("--tokens", type=int, default=64, help="of each answer (%(default)s)")
    args = parser.parse_args()
    os.environ["PYTHONPATH"] = str(ROOT)  # of the processes that Ray starts
    os.environ.setdefault("RAY_AUTH_MODE", "disabled")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S", "60")  # a busy machine
    ray.init(num_cpus=64, include_dashboard=False, log_to_driver=False, logging_level="error")
    for name in ("ray", "ray.serve"):  # their lines would stand in the table
        logging.getLogger(name).setLevel(logging.ERROR)
    serve.start(http_options={"port": PORT, "host": "127.0.0.1"})
    print(crossing(args.tokens) + "\n")
    print("| replicas | seconds | tokens/s | tokens per second of their processors | front, ms of its processor a "
          "request | HTTP proxy, the same | load |\n|---|---|---|---|---|---|---|")  # fmt: skip
    for count in args.replicas:
        serve.run(app(ClusterOptions(device="cpu", min_replicas=count, max_replicas=count)), name=NAME)
        found = processes(count)
        asyncio.run(ask_all(2 * count, 8))  # first requests
        shared = [process_of(f"ServeReplica:{NAME}:Front"), process_of("ray::ProxyActor")]
        before, begun = list(map(processor_seconds, (*found, *shared))), time.perf_counter()
        tokens = asyncio.run(ask_all(args.requests, args.tokens))
        seconds = time.perf_counter() - begun
        after = map(processor_seconds, (*found, *shared))
        *used, front, proxy = (b - a for a, b in zip(before, after, strict=True))
        each = " | ".join(f"{1000 * x / args.requests:.1f}" for x in (front, proxy))
        print(f"| {count} | {seconds:.1f} | {tokens / seconds:.0f} | {tokens / sum(used):.0f} | {each} | "
              f"{os.getloadavg()[0]:.1f} |", flush=True)  # fmt: skip
    ray.shutdown()  # and not Serve first, which gives everything seconds to end by itself


if __name__ == "__main__":
    main()
