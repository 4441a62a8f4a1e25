"""The UMAPs of the reference cloud: how long a cold fit takes, how long the cache, and how far they can be believed.

    python -m benchmarks.projection [--checkpoint FOLDER] [--dimensions 2 3]

Surveys the model with the shipped texts and fits each UMAP twice, each time in a fresh process and with an empty cache;
then reads it from the cache. `same` compares the two fits number by number. The last columns are measured on paths that
no map was fitted on: the median largest step as a share of its path, of states and of clean estimates.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from coladlm import ColaDLM
from coladlm.latent.projection import UMAPMap, UMAPSettings, fit_umap
from coladlm.latent.reference_cloud import Survey, load_sentences, surveyed


def timed(survey: Survey, dimensions: int, cache: Path) -> tuple[float, UMAPMap]:
    """Seconds until the map is there, and the map."""
    start = time.perf_counter()
    *_, last = fit_umap(survey.fitted_on(), UMAPSettings(dimensions), survey.fingerprint, cache)
    return time.perf_counter() - start, last.result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", help="folder or Hub id; the bundled model if absent")
    parser.add_argument("--dimensions", type=int, nargs="+", default=[2, 3], choices=(2, 3))
    options = parser.parse_args()
    start = time.perf_counter()
    *_, (_, _, survey) = surveyed(ColaDLM.from_pretrained(options.checkpoint), load_sentences())
    print(f"survey: {time.perf_counter() - start:.1f} s, {len(survey.fitted_on()):,} points to fit on\n")
    print("| dimensions | cold, s | cold again, s | cache, s | same | largest step, states | clean estimates |")
    print("|---|---|---|---|---|---|---|")
    for dimensions in options.dimensions:
        with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
            cold, first = timed(survey, dimensions, Path(one))
            again, second = timed(survey, dimensions, Path(other))
            cached, _ = timed(survey, dimensions, Path(one))
        same = "yes" if np.array_equal(first.embedding, second.embedding) else "no"
        steps = [found.largest_step for found in survey.numbers("umap", first).values()]
        print(
            f"| {dimensions} | {cold:.1f} | {again:.1f} | {cached:.3f} | {same} | {steps[0]:.2f} | {steps[1]:.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
