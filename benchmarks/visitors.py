"""A crowd on one server over HTTP: does everybody get the right answer, in fair time, and does memory stay?

    python -m benchmarks.visitors [--visitors 20] [--seconds 180] [--checkpoint FOLDER] [--address URL --pid PID]

Starts `python app.py` (or takes a server that runs), asks every request of a fixed set alone, to know its answer and
its time, then lets visitors ask them again and again, each from an address of its own (127.0.0.x, Linux), with short
pauses: runs of the page by id, of every tab whose view the server has, completions, and calls of Gradio's API. Some
press Stop, some hang up. A request's fair share is its time alone, times the mean number of requests under way while it
ran. Prints a table, and ends with status 1 where one of these does not hold:

- no unexpected error;
- no request took more than 3 times its fair share;
- every answer is the one that the request got alone, and a run's own recipe gives it in this process, too;
- resident memory of the server has grown by at most 10 % since the end of the first fifth;
- requests of several visitors have shared batches;
- everybody who left has freed the place at the end.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import os
import random
import re
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx

from coladlm import ColaDLM
from coladlm.recipe import Recipe
from coladlm.run import run

from .visitor_requests import COMPLETIONS, Ask, UnknownViewError, answer_of, requests_of

ROOT = Path(__file__).resolve().parents[1]
MOST_SHARES, MOST_GROWTH = 3.0, 0.10
HANGS_UP = STOPS = 0.05  # share of requests whose visitor leaves in the middle, and of runs that are stopped
PAUSE = 0.5  # mean seconds between two requests of a visitor
LEFT_SECONDS = 10.0  # in which a run must be gone whose listener went without a word


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
        self.hung_up = self.stopped = 0
        self._running = 0
        self._integral, self._changed = 0.0, time.monotonic()  # of the number of requests over time

    def _count(self, change: int) -> float:
        now = time.monotonic()
        self._integral += self._running * (now - self._changed)
        self._running, self._changed = self._running + change, now
        return self._integral

    async def ask(
        self, client: httpx.AsyncClient, ask: Ask, leave_after: float | None = None, stop_after: float | None = None
    ) -> Asked:
        """One request to its end. Raises httpx.HTTPError or ValueError for what is no answer."""
        begun, before = time.monotonic(), self._count(+1)
        try:
            async with asyncio.timeout(leave_after):
                answer = await answer_of(client, ask, stop_after)
        finally:
            after = self._count(-1)
        seconds = time.monotonic() - begun
        return Asked(ask, seconds, answer, (after - before) / seconds)

    async def everything_alone(self) -> list[str]:
        """Asks everything once to warm up and once to remember answer and time, nobody else being there. What the
        server has no view for is left out; returns the kinds of that.
        """
        missing = []
        async with httpx.AsyncClient(timeout=300, base_url=self.address) as client:
            await client.get("/")  # for the cookie
            for ask in list(self.asks):
                try:
                    await self.ask(client, ask)
                except UnknownViewError:
                    self.asks.remove(ask)
                    missing.append(ask.kind)
            for ask in self.asks:
                self.alone[ask] = await self.ask(client, ask)
        return list(dict.fromkeys(missing))

    async def visit(self, number: int, until: float) -> None:
        """One visitor: asks, reads, asks again."""
        draw = random.Random(number)
        transport = httpx.AsyncHTTPTransport(local_address=f"127.0.0.{10 + number}")
        async with httpx.AsyncClient(timeout=300, transport=transport, base_url=self.address) as client:
            await client.get("/")
            while time.monotonic() < until:
                await asyncio.sleep(draw.expovariate(1 / PAUSE))
                await self._one_more(client, draw)

    async def _one_more(self, client: httpx.AsyncClient, draw: random.Random) -> None:
        ask, fate = draw.choice(self.asks), draw.random()
        may_leave = ask.is_run or ask.path == COMPLETIONS
        leave = draw.uniform(0, 1) if fate < HANGS_UP and may_leave else None
        stop = draw.uniform(0, 1) if fate > 1 - STOPS and ask.is_run else None
        try:
            asked = await self.ask(client, ask, leave, stop)
        except TimeoutError:
            self.hung_up += 1
        except (httpx.HTTPError, ValueError, LookupError) as error:
            self.errors.append(f"{ask.kind}: {type(error).__name__} {error}")
        else:
            if asked.answer is None:
                self.stopped += 1
            else:
                self.done.append(asked)

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


def own_answers(crowd: Crowd, model: ColaDLM) -> list[str]:
    """Runs the recipe of every run here, alone; returns what is not what the server showed."""
    wrong = []
    for ask, asked in crowd.alone.items():
        found = json.loads(asked.answer) if ask.is_run else {}
        shown = found.get("texts")
        if not shown or not found["recipe"]:
            continue
        *_, finished = run(model, Recipe.from_json(found["recipe"]))
        if missing := [text for text in finished.texts if text.strip() not in shown]:
            wrong.append(f"{ask.kind}: {ask.body}\n    its recipe gives {missing[0]!r}\n    shown  {shown!r}")
    return wrong


def table(crowd: Crowd) -> tuple[list[float], list[Asked]]:
    """Prints how the requests went; returns all fair shares, and those with another answer than alone."""
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
    return shares, wrong


def report(crowd: Crowd, own: list[str], memory: list[float], shared: dict[str, float], left: dict[str, Any]) -> bool:
    """Prints what happened; returns whether everything held."""
    shares, wrong = table(crowd)
    settled = memory[len(memory) // 5 :]
    growth = settled[-1] / settled[0] - 1
    in_batches = ", ".join(f"{name} {count:.0f}" for name, count in shared.items())
    holds = {
        f"{len(crowd.errors)} unexpected errors": not crowd.errors,
        f"at most {max(shares, default=0):.2f} fair shares": bool(shares) and max(shares) <= MOST_SHARES,
        f"{len(wrong)} of {len(crowd.done)} answers differ from the ones alone": not wrong,
        f"{len(own)} runs differ from their own recipe": not own,
        f"memory {settled[0]:.0f} to {settled[-1]:.0f} MB ({growth:+.1%})": growth <= MOST_GROWTH,
        f"requests that shared a batch: {in_batches}": any(shared.values()),
        f"{crowd.hung_up} hung up, {crowd.stopped} stopped; left on the server: {left}": not any(left.values()),
    }
    for sentence, held in holds.items():
        print(f"{'holds' if held else 'FAILS'}: {sentence}")
    for error in [*crowd.errors[:5], *own[:5]]:
        print(f"  {error}")
    for one in wrong[:5]:
        print(f"  {one.ask.body}\n    alone {crowd.alone[one.ask].answer!r}\n    here  {one.answer!r}")
    return all(holds.values())


def shared_requests(address: str) -> dict[str, float]:
    """How many requests of each operation have shared a batch with another so far."""
    told = httpx.get(f"{address}/metrics").text
    found = re.findall(r'coladlm_shared_requests_total\{operation="([^"]+)"\} (\S+)', told)
    return {name: float(count) for name, count in found}


def left_over(address: str) -> dict[str, Any]:
    """What the server still works on, once it has had the time to let go of what nobody follows."""
    deadline = time.monotonic() + LEFT_SECONDS
    while True:
        health = httpx.get(f"{address}/health").json()
        left = {name: health[name] for name in ("running", "waiting")}
        if not any(left.values()) or time.monotonic() > deadline:
            return left
        time.sleep(0.5)


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
        if missing := await crowd.everything_alone():
            print(f"This server has no {', '.join(missing)}.")
        return await crowd.all_visit(options.seconds, pid)

    try:
        memory = asyncio.run(day())
        own = own_answers(crowd, ColaDLM.from_pretrained(options.checkpoint, device="cpu"))
        held = report(crowd, own, memory, shared_requests(address), left_over(address))
    finally:
        if process is not None:
            process.terminate()
            process.wait(30)
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
