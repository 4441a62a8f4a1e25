"""Runs as the flow map reads them: lines of JSON, one for a run and one for every state of a block.

A line is never changed once it is written, so a run that grows is a text that grows, and what compares two runs is one
text after the other. Coordinates are float32, little-endian, base64.
"""

from __future__ import annotations

import base64
import dataclasses
import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from coladlm import ColaDLM
from coladlm.latent.projection import Faithfulness
from coladlm.latent.reference_cloud import ReferenceCloud
from coladlm.trace import Trace

from .pieces import pieces


def cloud_text(cloud: ReferenceCloud, model: ColaDLM) -> str:
    """The reference cloud for a FlowMap's `cloud`: words, coordinates on every map, and what to know of each map."""
    words = [model.tokenizer.decode([int(token)], skip_special_tokens=False) for token in cloud.token_ids]
    return json.dumps(
        {
            "words": words,
            "at": coordinates(cloud, cloud.latents),
            "explained": [round(float(share), 4) for share in cloud.pca.explained],
            "numbers": {name: plain_numbers(found) for name, found in cloud.numbers.items()},
        },
        ensure_ascii=False,
        separators=(",", ":"),
    )


def plain_numbers(found: Faithfulness) -> dict[str, float | None]:
    """A map's honest numbers, rounded; None where there is none."""
    values = dataclasses.asdict(found)
    return {name: None if v is None or not np.isfinite(v) else round(v, 3) for name, v in values.items()}


def coordinates(cloud: ReferenceCloud, points: ArrayLike) -> dict[str, str]:
    """Where points (n, d) lie on every map: "pca" (three components), "umap2" and "umap3" if they are fitted."""
    charts = {"pca": cloud.pca, **{f"umap{k}": fitted for k, fitted in cloud.umaps.items()}}
    return {name: packed(chart.place(points)) for name, chart in charts.items()}


def packed(array: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(array, "<f4").tobytes()).decode()


def line(record: dict[str, Any]) -> str:
    return json.dumps(record, ensure_ascii=False, separators=(",", ":")) + "\n"


class RunWriter:
    """Writes the lines of one sequence of a run, state by state.

    run: its name on the map. label: for people. before: token ids that stand before its first block, for the first
    pieces of its text. branch: where it left another run, if it did.
    """

    def __init__(
        self, model: ColaDLM, cloud: ReferenceCloud, run: str, label: str, prompt: str, steps: int,
        before: Sequence[int] = (), branch: dict[str, Any] | None = None,
    ) -> None:  # fmt: skip
        self.model, self.cloud, self.run = model, cloud, run
        self.before = list(before)[-8:]
        self.special = frozenset((*model.end_ids, model.pad_id))
        self.head = line({"is": "run", "run": run, "label": label, "prompt": prompt, "steps": steps,
                          "places": model.block_size, "branch": branch})  # fmt: skip

    def state(
        self, block: int, step: int, noise: ArrayLike, latents: ArrayLike, ids: ArrayLike | None = None,
        confidence: ArrayLike | None = None, margin: ArrayLike | None = None, last: bool = False,
    ) -> str:  # fmt: skip
        """The line of a block before `step`, or of the finished one (`last`), whose words the next block reads.

        noise: (p,) in percent. latents: (p, d). ids, confidence, margin: (p * patch_size,); without them no words are
        shown.
        """
        record: dict[str, Any] = {"is": "state", "block": block, "step": step, "run": self.run, "last": last}
        record["noise"] = [round(float(n), 2) for n in np.asarray(noise)]
        record["at"] = coordinates(self.cloud, latents)
        if ids is not None:
            ids = np.asarray(ids).tolist()
            record["ids"] = self._by_place(ids, list)
            record["words"] = self._by_place(pieces(self.model.tokenizer, ids, self.before, self.special), "".join)
            record["sure"] = self._least(confidence)
            if margin is not None:
                record["margin"] = self._least(margin)
            if last:
                self.before = [*self.before, *ids][-8:]
        return line(record)

    def _by_place(self, tokens: list, join: Any) -> list:
        """What belongs to tokens, put together by the latent that holds them."""
        ps = self.model.patch_size
        return [join(tokens[start : start + ps]) for start in range(0, len(tokens), ps)]

    def _least(self, values: ArrayLike | None) -> list[float]:
        """The least sure token of every place."""
        values = np.asarray(values, np.float64).reshape(-1, self.model.patch_size)
        return [round(float(value), 3) for value in values.min(1)]


def whole_blocks(model: ColaDLM, prompt: str) -> list[int]:
    """The token ids of a prompt's whole blocks, after which its run's first block stands."""
    ids, per_block = model.tokenize(prompt), model.block_size * model.patch_size
    return ids[: len(ids) // per_block * per_block]


def trace_lines(
    model: ColaDLM, cloud: ReferenceCloud, trace: Trace, sequence: int, run: str, label: str, branch: dict | None = None
) -> Iterator[str]:
    """The lines of one sequence of a recorded run."""
    prompt = trace.prompts[sequence]
    steps = trace.z.shape[2]
    writer = RunWriter(model, cloud, run, label, prompt, steps, whole_blocks(model, prompt), branch)
    yield writer.head
    for block in np.flatnonzero(trace.active[sequence]):
        for step in np.flatnonzero(trace.recorded[block]):
            words = {}
            if trace.preview_ids is not None:
                words = {"ids": trace.preview_ids[sequence, block, step],
                         "confidence": trace.preview_confidence[sequence, block, step],
                         "margin": trace.preview_margin[sequence, block, step]}  # fmt: skip
            noise = trace.t[sequence, block, step] / 10
            yield writer.state(int(block), int(step), noise, trace.z[sequence, block, step], **words)
        if trace.finished[block]:
            ids, sure = trace.token_ids[sequence, block], np.exp(trace.logprobs[sequence, block])
            noise = np.zeros(trace.z.shape[3])
            latents = trace.latents[sequence, block]
            yield writer.state(int(block), steps, noise, latents, ids, sure, last=True)
