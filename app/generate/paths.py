"""The paths of a run as a FlowView reads them: a line of JSON for every state of a block.

    {"block", "step", "of", "t": per cent of noise, "at": places, "words", "sure": per cent}

"at" holds two numbers for each position, the first two components of the reference cloud's PCA, packed as
`Charts` packs them. The last state of a block (step == of) has the positions that belong to the text alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..components.flow_view import paths_value
from ..components.token_strip import State
from ..shared.charts import Charts
from ..shared.encoding import compact, packed_int16

NO_MAP = "The map of this model has not been made yet: the tab Trajectories makes it."
TOO_LONG = "This text is too long for its paths to be recorded."


class PathWriter:
    """Writes the lines of one sequence of a run. charts: of the run's model. skip: positions of the prompt in the first
    new block.
    """

    def __init__(self, charts: Charts, skip: int) -> None:
        self.charts, self.skip = charts, skip
        self.unit = charts.units["pca"]
        self.lines = ""

    def add(
        self, block: int, step: int, of: int, noise: ArrayLike, latents: ArrayLike, words: list[str], sure: ArrayLike
    ) -> None:
        """A state of a block. noise: (p,) of 1000. latents: (p, d). words, sure: of the first positions of those."""
        skip = self.skip if block == 0 else 0
        until = skip + len(words)
        at = self.charts.cloud.pca.place(np.asarray(latents, np.float32)[skip:until])[:, :2]
        record = {
            "block": block,
            "step": step,
            "of": of,
            "t": np.rint(np.asarray(noise, np.float64)[skip:until] / 10).astype(int).tolist(),
            "at": packed_int16(at, self.unit),
            "words": words,
            "sure": np.rint(100 * np.asarray(sure, np.float64)).astype(int).tolist(),
        }
        self.lines += compact(record) + "\n"

    def value(self, run: str, state: State, facts: dict[str, Any] | None = None) -> dict[str, Any]:
        return paths_value(run, state, self.lines, self.charts.plane, facts=facts)


def joined(words: list[str], patch_size: int) -> list[str]:
    """The words of tokens by the latent that holds them."""
    return ["".join(words[start : start + patch_size]) for start in range(0, len(words), patch_size)]


def least(sure: ArrayLike, patch_size: int) -> list[float]:
    """The confidence of the least sure token of each latent."""
    values = np.asarray(sure, np.float64)
    return [float(values[start : start + patch_size].min()) for start in range(0, len(values), patch_size)]
