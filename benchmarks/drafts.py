"""What a draft of every step costs a stream of OpenAI's API.

    python -m benchmarks.drafts [--pairs 8] [--tokens 64] [--beside 3]

Serves the bundled model over HTTP and streams the same text with and without drafts in turn: first alone, then while so
many other streams without drafts are written in the same batch, whose times say what one visitor's drafts cost the
others. Clients are processes of their own. Prints medians of seconds, the server's own processor time among them, and
fails unless every step of every block had its draft.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import httpx

Draft = dict[str, Any]


def streamed(address: str, seed: int, tokens: int, drafts: bool) -> tuple[float, list[Draft]]:
    """The seconds until a stream has ended, and its drafts."""
    body = {"prompt": "Once upon a time", "max_tokens": tokens, "seed": seed, "stop_at_end": False, "stream": True,
            "stream_options": {"include_draft": drafts}}  # fmt: skip
    found, begun = [], time.perf_counter()
    with httpx.stream("POST", f"{address}/v1/completions", json=body, timeout=120) as answer:
        answer.raise_for_status()
        for line in answer.iter_lines():
            if line.startswith("data: {"):
                choice = json.loads(line[6:])["choices"][0]
                found += [choice["draft"]] if "draft" in choice else []
    return time.perf_counter() - begun, found


def check(drafts: list[Draft]) -> None:
    """Raises ValueError unless every step of every block has its draft, in order."""
    blocks, steps = drafts[0]["blocks"], drafts[0]["steps"]
    wanted = [(block, step) for block in range(1, blocks + 1) for step in range(1, steps + 1)]
    if [(draft["block"], draft["step"]) for draft in drafts] != wanted:
        raise ValueError(f"{len(drafts)} drafts, expected those of {blocks} blocks with {steps} steps each")


def measure(address: str, clients: ProcessPoolExecutor, options: argparse.Namespace, others: int) -> str:
    """A row of the table: medians of what it takes with so many others beside it."""
    own, theirs, server = ({False: [], True: []} for _ in range(3))
    for pair in range(options.pairs + 1):
        for drafts in (False, True) if pair % 2 else (True, False):
            begun = time.process_time()
            asked = [clients.submit(streamed, address, seed, options.tokens, drafts and seed == 0)
                     for seed in range(others + 1)]  # fmt: skip
            (seconds, found), *rest = [one.result() for one in asked]
            if drafts:
                check(found)
            if pair:  # the first pair of a model that has just been loaded is slower
                own[drafts].append(seconds)
                theirs[drafts] += [seconds for seconds, _ in rest]
                server[drafts].append(time.process_time() - begun)
    cells = [f"{statistics.median(times[drafts]):.2f}" if times[drafts] else ""
             for times in (own, theirs, server) for drafts in (False, True)]  # fmt: skip
    return f"| {others} | {' | '.join(cells)} |"


def main() -> None:
    # here, because a client imports this module, too
    from app.api.openai_api import ApiOptions
    from app.server import Options, Served
    from coladlm import ColaDLM
    from coladlm.serve import Limits
    from coladlm.serve.threads import set_threads

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--beside", type=int, default=3)
    options = parser.parse_args()
    model = ColaDLM.from_pretrained(device="cpu")
    set_threads(model)
    served = Served(model, Limits(per_visitor=0), ApiOptions(), Options(quiet=True))
    print("| others | without | with drafts | others without | others beside drafts | server without | server with |")
    print("|---|---|---|---|---|---|---|")
    try:
        with ProcessPoolExecutor(options.beside + 1, multiprocessing.get_context("spawn")) as clients:
            for others in (0, options.beside):
                print(measure(served.address, clients, options, others), flush=True)
    finally:
        served.end(grace=0)


if __name__ == "__main__":
    main()
