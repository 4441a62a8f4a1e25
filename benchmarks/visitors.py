"""A crowd on one server over HTTP: does everybody get the right answer, in fair time, and does memory stay?

    python -m benchmarks.visitors [--visitors 20] [--seconds 180] [--checkpoint FOLDER] [--address URL --pid PID]

Starts `python app.py` (or takes a server that runs), asks every request of a fixed set alone, to know its answer and
its time, then lets visitors ask them again and again, each from an address of its own (127.0.0.x, Linux), with short
pauses; some hang up. A request's fair share is its time alone, times the mean number of requests under way while it
ran. Prints a table, and ends with status 1 where one of these does not hold:

- no unexpected error;
- no request took more than 3 times its fair share;
- every answer is the one that the request got alone;
- resident memory of the server has grown by at most 10 % since the end of the first fifth;
- everybody who left has freed the place at the end.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import os
import random
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).resolve().parents[1]
MOST_SHARES, MOST_GROWTH = 3.0, 0.10
HANGS_UP = 0.05  # share of requests whose visitor leaves in the middle
PAUSE = 0.5  # mean seconds between two requests of a visitor
REPLAY = "/gradio_api/call/replay"
PROMPTS = ("Once upon a time", "The cat sat on the", "Tom and Lily went to the beach. They found", "One day,")


@dataclasses.dataclass(frozen=True)
class Ask:
    """A request. kind: what the table calls it. path and body: of the door."""

    kind: str
    path: str
    body: str


def requests_of(seed: int = 0) -> list[Ask]:
    """The fixed set: short and long texts, whole and streamed, of two flows, and a road and an edit over the API."""
    draw, asks = random.Random(seed), []
    for index in range(24):
        long = index % 4 == 3
        body = {
            "prompt": draw.choice(PROMPTS),
            "max_tokens": 128 if long else draw.choice((16, 32)),
            "seed": index,
            "stream": index % 3 == 0,
            "temperature": draw.choice((0.0, 0.8)),
            "steps": (8, 16)[index % 5 == 0],
        }
        asks.append(Ask("long text" if long else "short text", "/v1/completions", json.dumps(body)))
    for index in range(3):
        settings = {"seed": index, "steps": 8}
        road = {"operation": "interpolate", "texts": ["The sun was warm.", "The night was cold."],
                "options": {"stops": 5}, "settings": settings}  # fmt: skip
        edit = {"operation": "edit", "texts": ["The cat slept on the big red bed."], "variations": 2,
                "options": {"start": 1, "end": 3}, "settings": settings}  # fmt: skip
        asks += [Ask("road", REPLAY, json.dumps({"data": [road]})), Ask("edit", REPLAY, json.dumps({"data": [edit]}))]
    return asks


@dataclasses.dataclass
class Asked:
    """How a request went. under_way: mean number of requests while it ran, itself counted."""

    ask: Ask
    seconds: float
    answer: str | None
    under_way: float = 1.0


class Crowd:
    """Visitors of one server."""

    def __init__(self, address: str, asks: list[Ask], visitors: int) -> None:
        self.address, self.asks, self.visitors = address, asks, visitors
        self.alone: dict[Ask, Asked] = {}
        self.done: list[Asked] = []
        self.errors: list[str] = []
        self.hung_up = 0
        self._running = 0
        self._integral, self._changed = 0.0, time.monotonic()  # of the number of requests over time

    def _count(self, change: int) -> float:
        now = time.monotonic()
        self._integral += self._running * (now - self._changed)
        self._running, self._changed = self._running + change, now
        return self._integral

    async def ask(self, client: httpx.AsyncClient, ask: Ask, leave_after: float | None = None) -> Asked:
        """One request to its end. Raises httpx.HTTPError or ValueError for what is no answer."""
        begun, before = time.monotonic(), self._count(+1)
        try:
            limit = asyncio.timeout(leave_after)
            async with limit:
                answer = await self._answer(client, ask)
        finally:
            after = self._count(-1)
        seconds = time.monotonic() - begun
        return Asked(ask, seconds, answer, (after - before) / seconds)

    async def _answer(self, client: httpx.AsyncClient, ask: Ask) -> str:
        headers = {"Content-Type": "application/json"}
        answer = await client.post(self.address + ask.path, content=ask.body, headers=headers)
        if answer.status_code != 200:
            raise ValueError(f"status {answer.status_code}: {answer.text[:200]}")
        if ask.path == REPLAY:
            event = answer.json()["event_id"]
            told = (await client.get(f"{self.address}{ask.path}/{event}")).text
            last = told.strip().split("\n\n")[-1]
            if not last.startswith("event: complete"):
                raise ValueError(f"the call ended with {last[:200]}")
            return json.dumps(json.loads(last.split("data: ", 1)[1])[0])
        if answer.headers["content-type"].startswith("text/event-stream"):
            parts = [line.removeprefix("data: ") for line in answer.text.splitlines() if line.startswith("data: ")]
            if parts[-1] != "[DONE]":
                raise ValueError(f"the stream ended with {parts[-1][:200]}")
            return "".join(json.loads(part)["choices"][0]["text"] for part in parts[:-1])
        return answer.json()["choices"][0]["text"]

    async def everything_alone(self) -> None:
        """Asks everything once to warm up and once to remember answer and time, nobody else being there."""
        async with httpx.AsyncClient(timeout=300) as client:
            for ask in self.asks:
                await self.ask(client, ask)
            for ask in self.asks:
                self.alone[ask] = await self.ask(client, ask)

    async def visit(self, number: int, until: float) -> None:
        """One visitor: asks, reads, asks again."""
        draw = random.Random(number)
        transport = httpx.AsyncHTTPTransport(local_address=f"127.0.0.{10 + number}")
        async with httpx.AsyncClient(timeout=300, transport=transport) as client:
            while time.monotonic() < until:
                await asyncio.sleep(draw.expovariate(1 / PAUSE))
                ask = draw.choice(self.asks)
                leave = draw.uniform(0, 1) if draw.random() < HANGS_UP and ask.path.startswith("/v1") else None
                try:
                    self.done.append(await self.ask(client, ask, leave))
                except TimeoutError:
                    self.hung_up += 1
                except (httpx.HTTPError, ValueError, LookupError) as error:
                    self.errors.append(f"{ask.kind}: {type(error).__name__} {error}")

    async def all_visit(self, seconds: float, pid: int) -> list[float]:
        """Everybody at once; returns the server's memory, MB, once a second."""
        until, memory = time.monotonic() + seconds, []
        visitors = [asyncio.create_task(self.visit(i, until)) for i in range(self.visitors)]
        while time.monotonic() < until:
            memory.append(resident_megabytes(pid))
            await asyncio.sleep(1)
        await asyncio.gather(*visitors)
        memory.append(resident_megabytes(pid))
        return memory


def resident_megabytes(pid: int) -> float:
    """Resident set of a process (Linux: the second field of statm, in pages)."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def report(crowd: Crowd, memory: list[float], left: dict[str, Any]) -> bool:
    """Prints what happened; returns whether everything held."""
    print("| request | count | alone, s | median, s | slowest, s | most fair shares |\n|---|---|---|---|---|---|")
    shares, wrong = [], []
    for kind in dict.fromkeys(ask.kind for ask in crowd.asks):
        mine = [one for one in crowd.done if one.ask.kind == kind]
        if not mine:
            continue
        of_kind = [one.seconds / (crowd.alone[one.ask].seconds * max(1.0, one.under_way)) for one in mine]
        shares += of_kind
        wrong += [one for one in mine if one.answer != crowd.alone[one.ask].answer]
        alone = statistics.median(crowd.alone[one.ask].seconds for one in mine)
        seconds = [one.seconds for one in mine]
        print(f"| {kind} | {len(mine)} | {alone:.2f} | {statistics.median(seconds):.2f} | {max(seconds):.2f} | "
              f"{max(of_kind):.2f} |")  # fmt: skip
    settled = memory[len(memory) // 5 :]
    growth = settled[-1] / settled[0] - 1
    holds = {
        f"{len(crowd.errors)} unexpected errors": not crowd.errors,
        f"at most {max(shares, default=0):.2f} fair shares": bool(shares) and max(shares) <= MOST_SHARES,
        f"{len(wrong)} of {len(crowd.done)} answers differ from the ones alone": not wrong,
        f"memory {settled[0]:.0f} to {settled[-1]:.0f} MB ({growth:+.1%})": growth <= MOST_GROWTH,
        f"{crowd.hung_up} hung up; left on the server: {left}": not any(left.values()),
    }
    for sentence, held in holds.items():
        print(f"{'holds' if held else 'FAILS'}: {sentence}")
    for error in crowd.errors[:5]:
        print(f"  {error}")
    for one in wrong[:5]:
        print(f"  {one.ask.body}\n    alone {crowd.alone[one.ask].answer!r}\n    here  {one.answer!r}")
    return all(holds.values())


def started(checkpoint: str | None, visitors: int) -> tuple[subprocess.Popen, str]:
    """A server of its own and its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, str(ROOT / "app.py"), "--port", str(port), "--queue-size", str(2 * visitors)]
    command += ["--checkpoint", checkpoint] if checkpoint else []
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    address, deadline = f"http://127.0.0.1:{port}", time.monotonic() + 120
    while True:
        try:
            if httpx.get(f"{address}/health", timeout=5).status_code == 200:
                return process, address
        except httpx.HTTPError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise
        time.sleep(0.2)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--visitors", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=180)
    parser.add_argument("--checkpoint", help="folder or Hub id; the bundled model if absent")
    parser.add_argument("--address", help="of a server that runs; one is started if absent")
    parser.add_argument("--pid", type=int, help="process of that server")
    options = parser.parse_args()
    if options.address and not options.pid:
        parser.error("--address wants --pid, to see the memory of that server")
    process = None
    if options.address:
        address, pid = options.address.rstrip("/"), options.pid
    else:
        process, address = started(options.checkpoint, options.visitors)
        pid = process.pid
    crowd = Crowd(address, requests_of(), options.visitors)

    async def day() -> list[float]:
        await crowd.everything_alone()
        return await crowd.all_visit(options.seconds, pid)

    try:
        memory = asyncio.run(day())
        time.sleep(1)
        health = httpx.get(f"{address}/health").json()
        held = report(crowd, memory, {name: health[name] for name in ("running", "waiting")})
    finally:
        if process is not None:
            process.terminate()
            process.wait(30)
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
