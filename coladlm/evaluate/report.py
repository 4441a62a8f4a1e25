"""All measures of a model as one piece of plain data, part by part."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch

from ..baseline.baseline import Baseline, BaselineSettings, perplexities
from ..model import ColaDLM
from ..settings import SamplerSettings
from .generation import as_rows, compare, written_by_baseline, written_by_model, written_in_excerpts
from .judge import Judge
from .likelihood import best_bound, flow_by_time, likelihood_bounds
from .measures import NgramSet
from .reconstruction import neighbours, restored
from .stories import EvaluationError, encode, excerpts

PARTS = ("reconstruction", "flow", "likelihood", "samples", "neighbours")
Progress = Callable[[str, int, int], None]  # what is being done, how much of it, of how much


@dataclasses.dataclass(frozen=True)
class Request:
    """What to measure. stories: held-out ones for reconstruction, flow and likelihood. samples: prompted by the first
    sentence of a held-out story; free: without a prompt, and as many more that begin with one of the model's openings,
    if it has any, beside real text from the beginning. batch: of samples. draws: see `likelihood_bounds`.
    """

    settings: SamplerSettings
    parts: tuple[str, ...] = PARTS
    stories: int = 128
    samples: int = 200
    free: int = 50
    batch: int = 16
    draws: int = 2

    def __post_init__(self) -> None:
        for part in self.parts:
            if part not in PARTS:
                raise EvaluationError(f"parts has {part!r}, expected some of {', '.join(PARTS)}")
        for name in ("stories", "samples", "batch", "draws"):
            if getattr(self, name) < 1:
                raise EvaluationError(f"{name} is {getattr(self, name)}, expected 1 or more")
        if self.free < 0:
            raise EvaluationError(f"free is {self.free}, expected 0 or more")


def evaluate(model: ColaDLM, baseline: Baseline, train: Sequence[str], valid: Sequence[str], request: Request,
             progress: Progress = lambda what, done, total: None,
             judge: Judge | None = None) -> dict[str, Any]:  # fmt: skip
    """Measures a model. train, valid: stories. judge: reads the samples beside the baseline, where there is one.

    The same arguments on the same machine give the same numbers.

    Raises EvaluationError where the stories do not suffice.
    """
    start = time.monotonic()
    result: dict[str, Any] = {
        "model": {"name": model.name, "fingerprint": model.fingerprint, "parameters": model.parameters,
                  "dtype": str(model.dtype).removeprefix("torch.")},
        "baseline": {"parameters": baseline.parameters, "training": baseline.training},
        **({} if judge is None else {"judge": {"name": judge.name, "parameters": judge.parameters}}),
        "settings": request.settings.to_dict(),
        "data": {"training_stories": len(train), "held_out_stories": len(valid)},
    }  # fmt: skip
    stories, texts = _whole_stories(model, baseline, valid, request.stories)
    seed = request.settings.seed
    if "reconstruction" in request.parts:
        progress("reconstruction", 0, 1)
        result["reconstruction"] = {**_size(stories), "restored": restored(model, stories, seed=seed)}
    if "flow" in request.parts:
        progress("flow", 0, 1)
        result["flow"] = _unless_patched(
            model, lambda: {**_size(stories), "by_time": flow_by_time(model, stories, seed)}
        )
    if "likelihood" in request.parts:
        result["likelihood"] = _unless_patched(
            model, lambda: _likelihood(model, baseline, stories, texts, request, progress)
        )
    if "samples" in request.parts:
        progress("training text", 0, 1)
        result |= _samples(model, baseline, NgramSet(train), valid, request, progress, judge)
    if "neighbours" in request.parts:
        result["neighbours"] = neighbours(model)
    result["seconds"] = round(time.monotonic() - start, 1)
    result["machine"] = {"device": str(model.device), "threads": torch.get_num_threads(), "torch": torch.__version__}
    return result


def _whole_stories(
    model: ColaDLM, baseline: Baseline, valid: Sequence[str], count: int
) -> tuple[list[list[int]], list[str]]:
    """The first `count` held-out stories that both models can read whole: ids with the end token, and texts."""
    end = model.end_ids[0]
    ids = [[*encode(model.tokenizer, text.strip()), end] for text in valid]
    fit = [i for i, row in enumerate(ids) if len(row) <= baseline.network.config.max_tokens][:count]
    if not fit:
        raise EvaluationError("found no held-out story that fits, expected one that the baseline can read whole")
    return [ids[i] for i in fit], [valid[i].strip() for i in fit]


def _size(stories: Sequence[Sequence[int]]) -> dict[str, int]:
    return {"stories": len(stories), "tokens": sum(map(len, stories))}


def _unless_patched(model: ColaDLM, measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What is measured by passes over whole texts needs a token for every latent."""
    if model.patch_size != 1:
        return {"left_out": f"patch_size is {model.patch_size}, this measure needs 1"}
    return measure()


def _likelihood(model: ColaDLM, baseline: Baseline, stories: Sequence[Sequence[int]], texts: Sequence[str],
                request: Request, progress: Progress) -> dict[str, Any]:  # fmt: skip
    words = [len(text.split()) for text in texts]
    bounds = likelihood_bounds(model, stories, words, draws=request.draws, seed=request.settings.seed,
                               progress=lambda done, total: progress("likelihood", done, total))  # fmt: skip
    exact = perplexities(baseline.log_likelihood(texts, ended=True))
    return {
        **_size(stories),
        "upper_bound": best_bound(bounds),
        "baseline_exact": {f"perplexity_{name}": value for name, value in exact.items()},
    }


def _samples(model: ColaDLM, baseline: Baseline, training: NgramSet, valid: Sequence[str], request: Request,
             progress: Progress, judge: Judge | None) -> dict[str, Any]:  # fmt: skip
    """Prompted, free and opened samples, each beside real text and the baseline's, with the texts."""
    settings, found = request.settings, {}
    own = BaselineSettings(max_new_tokens=settings.max_new_tokens, seed=settings.seed)
    for name, count in (("prompted", request.samples), ("free", request.free), ("opened", request.free)):
        if not count or (name == "opened" and not model.openings):
            continue

        def report(who: str, name: str = name) -> Callable[[int, int], None]:
            return lambda done, total: progress(f"{name}, {who}", done, total)

        real = excerpts(valid, baseline.tokenizer, count, settings.max_new_tokens, name == "prompted",
                        baseline.network.config.max_tokens, settings.seed)  # fmt: skip
        prompts = [model.opening(i) if name == "opened" else excerpt.prompt for i, excerpt in enumerate(real)]
        sources = {
            "model": written_by_model(model, prompts, settings, request.batch, report("model")),
            "real": written_in_excerpts(real, baseline),
            "baseline": written_by_baseline(baseline, prompts, own, 2 * request.batch, report("baseline")),
        }
        found[name] = {
            "max_new_tokens": settings.max_new_tokens,
            "baseline_settings": dataclasses.asdict(own),
            "measures": compare(sources, baseline, training, judge=judge),
            "samples": {who: as_rows(sources[who]) for who in ("model", "baseline")},
        }
    return found
