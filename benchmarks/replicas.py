"""How throughput grows with replicas on a cluster of this machine: `python -m benchmarks.replicas --replicas 1 2`.

Needs the extra `ray`, and Linux for the processor's seconds. Each number of replicas answers the same requests over
HTTP, all sent at once. A replica computes with one thread, so as many as there are idle cores can be faster together.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import time
from pathlib import Path

import httpx
import ray
from ray import serve

from app.cluster.options import ClusterOptions
from app.ray import app

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
    return found


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
    os.environ.setdefault("RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S", "60")  # a busy machine
    ray.init(num_cpus=64, include_dashboard=False, log_to_driver=False, logging_level="error")
    serve.start(http_options={"port": PORT, "host": "127.0.0.1"})
    print("| replicas | seconds | tokens/s | tokens per second of their processors | load |\n|---|---|---|---|---|")
    for count in args.replicas:
        serve.run(app(ClusterOptions(device="cpu", min_replicas=count, max_replicas=count)), name=NAME)
        found = processes(count)
        asyncio.run(ask_all(2 * count, 8))  # first requests
        used, begun = sum(map(processor_seconds, found)), time.perf_counter()
        tokens = asyncio.run(ask_all(args.requests, args.tokens))
        seconds, used = time.perf_counter() - begun, sum(map(processor_seconds, found)) - used
        print(f"| {count} | {seconds:.1f} | {tokens / seconds:.0f} | {tokens / used:.0f} | {os.getloadavg()[0]:.1f} |",
              flush=True)  # fmt: skip
    serve.shutdown()
    ray.shutdown()


if __name__ == "__main__":
    main()
