"""The same answers on every processor: the models run in child processes under one instruction set after the other.

What each child does is in `numerical_report.py`. Everything is compared with answers in float64, which no instruction
set changes: the golden ones, and for the bundled model those of `reference.py`. So two processors that both pass agree
with each other to twice the bounds here.
"""

import dataclasses
import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from . import numerical_report as report
from .reference import ReferenceSampler

CAPABILITIES = ["DEFAULT", "AVX2", "AVX512"]  # of torch's own kernels on x86, in rising order
# The golden answers are exact to 6e-8. A float32 sum of k products has a rounding error of about sqrt(k) u of their
# size, u = 6e-8, in whatever order it adds up, and a path through m such sums sqrt(m k) u, since LayerNorm keeps what
# goes into each at unit size. In the golden model k <= 256 and m = 3 layers of 4 sums: 3e-6 for velocities of unit
# size; the finished latents are a mean of these over the steps; logits of size 3 come out of 2 layers more.
GOLDEN = 1e-5
# Two correct results of the golden model, each this near to the exact one.
COMPANY = 2 * GOLDEN
# The bundled model: k <= 1024, m = 3 steps of 6 layers of 4 sums, and guidance 1.4 counts the error of one of its two
# velocities 1.4 times and of the other 0.4 times: 1.8 sqrt(72 * 1024) u = 3e-5 a block, and the three blocks build on
# each other. A logit of size 30 is the sum of 256 products of the decoder's last state, whose relative error is this
# of the latents.
BUNDLED_LATENTS = 1.5e-4
BUNDLED_LOGITS = 30 * BUNDLED_LATENTS


@dataclasses.dataclass
class Exact:
    """The bundled model's generations in float64. folder: holds them for the children."""

    folder: Path
    token_ids: list[list[int]]
    margin: float  # the least by which a token's logit, after the penalty, is above the next


@pytest.fixture(scope="module")
def exact(bundled, tmp_path_factory) -> Exact:
    settings, sampler = report.BUNDLED_SETTINGS, ReferenceSampler(bundled.vae, bundled.dit, bundled.pad_id)
    rows, b = len(report.BUNDLED_PROMPTS), bundled.block_size
    draw = torch.Generator().manual_seed(1)  # no choice of a token is near a tie: see the test of the margin
    noise = torch.randn(3, rows, b, bundled.latent_dim, generator=draw)
    made = [sampler.generate(bundled.tokenize(prompt), noise[:, row], settings.steps, settings.guidance,
                             settings.repetition_penalty)
            for row, prompt in enumerate(report.BUNDLED_PROMPTS)]  # fmt: skip
    margin = min(float(margins(generation.scores).min()) for generation in made)
    folder = tmp_path_factory.mktemp("exact")
    columns = {"latents": [g.latents for g in made], "logits": [g.logits for g in made]}
    stacked = {name: torch.stack([torch.stack(row) for row in of], 1) for name, of in columns.items()}
    save_file({"noise": noise, **stacked}, folder / "exact.safetensors")
    return Exact(folder, [g.answer[: settings.max_new_tokens] for g in made], margin)


def margins(scores: list[torch.Tensor]) -> torch.Tensor:
    first, second = torch.cat(scores).topk(2, -1).values.unbind(-1)
    return first - second


def sets_here() -> list[str]:
    """The instruction sets that this processor has; one that it lacks would end a child with a signal."""
    native = torch.backends.cpu.get_cpu_capability()
    known = CAPABILITIES[: CAPABILITIES.index(native) + 1] if native in CAPABILITIES else ["DEFAULT"]
    return [*known, "native"]


@pytest.fixture(scope="module")
def reports(exact) -> dict[str, dict]:
    """The reports of child processes, by instruction set."""
    root = Path(__file__).resolve().parent.parent
    # threads that spin while they wait for each other take minutes where something else wants a core
    environment = {**os.environ, "PYTHONPATH": str(root), "OMP_WAIT_POLICY": "PASSIVE"}
    command = [sys.executable, report.__file__, str(exact.folder), *sets_here()]
    child = subprocess.run(command, env=environment, cwd=root, capture_output=True, text=True, timeout=240)
    assert child.returncode == 0, child.stderr
    return {name: json.loads((exact.folder / f"{name}.json").read_text()) for name in sets_here()}


@pytest.fixture(params=sets_here())
def found(request, reports) -> dict:
    """The report under one instruction set, by number of threads."""
    made = reports[request.param]
    assert "error" not in made, made["error"]
    assert request.param in (made["capability"], "native")
    return made


@pytest.fixture(params=["1", "2"], ids=["one thread", "two threads"])
def of_threads(request, found) -> dict:
    return found[request.param]


def test_golden_answers_and_texts(of_threads, golden_settings):
    assert of_threads["golden texts"] == golden_settings["generated"]
    assert {name: error for name, error in of_threads["golden"].items() if error > GOLDEN} == {}


def test_a_text_is_the_same_alone_in_a_batch_and_with_others_coming_and_going(of_threads):
    assert of_threads["alone"] == of_threads["in a batch"] == of_threads["joined"]
    assert of_threads["company"]["latents"] < COMPANY


def test_packed_weights_give_the_products_of_plain_ones(of_threads):
    assert of_threads["packed"] is None or of_threads["packed"] < 1


def test_the_bundled_model_writes_the_words_of_exact_arithmetic(of_threads, exact):
    assert of_threads["bundled tokens"] == exact.token_ids
    assert of_threads["bundled"]["latents"] < BUNDLED_LATENTS
    assert of_threads["bundled"]["logits"] < BUNDLED_LOGITS


def test_no_word_of_the_bundled_model_is_so_near_a_tie_that_rounding_could_turn_it(exact):
    assert exact.margin > 2 * BUNDLED_LOGITS


def test_texts_are_the_same_with_one_thread_and_with_two(found):
    for name in ("golden texts", "alone", "bundled tokens"):
        assert all(a == b for a, b in itertools.pairwise(found[threads][name] for threads in ("1", "2")))
