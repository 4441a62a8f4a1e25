"""lm-evaluation-harness (the package lm-eval) on a Cola-DLM in this process, under the name "coladlm".

    import lm_eval
    import coladlm.evaluate.lm_eval_adapter  # makes the name known
    lm_eval.simple_evaluate("coladlm", "pretrained=FOLDER,draws=64", tasks=["lambada_openai"])

or with the harness's own options: python -m coladlm.evaluate.lm_eval_adapter run --model coladlm --tasks ...

The log-likelihoods that the harness gets are minus upper bounds on -log p, estimated by draws (see `token_scores`): no
higher than the true ones, up to the error of the draws. `generate_until` writes with the sampler.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from ..extras import missing_extra
from ..model import ColaDLM
from ..settings import SamplerSettings
from .stories import EvaluationError
from .text_likelihood import text_bound
from .token_scores import SCORING, token_scores

try:
    from lm_eval.api.instance import Instance
    from lm_eval.api.model import TemplateLM
    from lm_eval.api.registry import register_model
    from lm_eval.utils import get_rolling_token_windows, make_disjoint_window
except ModuleNotFoundError as error:
    raise missing_extra("lm_eval", "The adapter of lm-evaluation-harness") from error

LENGTHS = ("max_gen_toks", "max_tokens", "max_new_tokens")  # under which a task says how long an answer may be
MOST_TOKENS = 256  # of an answer whose task does not say


@register_model("coladlm")
class ColaDLMHarness(TemplateLM):
    """A Cola-DLM for the harness.

    pretrained: a folder or a Hub id, the bundled model if absent. draws, seed, read_at: of the bounds, see
    `BoundSettings`. max_length: the most tokens that are scored at once; of a longer context the end counts. sampler:
    settings of the sampler by name over the checkpoint's own, for answers; greedy unless a task says otherwise.
    Raises EvaluationError, SettingsError and what `ColaDLM.from_pretrained` raises, all ValueError.
    """

    def __init__(
        self, pretrained: str | None = None, device: str | None = None, dtype: str = "auto",
        revision: str | None = None, draws: int = SCORING.draws, seed: int = SCORING.seed,
        read_at: float | None = SCORING.read_at,
        batch_size: int | str | None = None, max_batch_size: int | None = None, max_length: int | None = None,
        model: ColaDLM | None = None, **sampler: Any,
    ) -> None:  # fmt: skip
        super().__init__()
        if device in (None, "cuda:0"):  # what the harness says where nobody has, with a GPU and without
            device = "auto"
        self.model = model or ColaDLM.from_pretrained(pretrained, device, dtype, revision)
        self.max_length = self.model.max_tokens if max_length is None else max_length
        self.scoring = dataclasses.replace(SCORING, draws=draws, seed=seed, read_at=read_at)
        given = {"seed": seed, "whole_sentences": False, **sampler, "temperature": 0}  # an answer is taken as it is
        self.settings = SamplerSettings.from_dict(given, self.model.defaults)
        self.batch = int(batch_size) if batch_size is not None and str(batch_size).isdecimal() else 16

    @property
    def eot_token_id(self) -> int:
        """Stands for the beginning of a text where the harness wants a token there."""
        return self.model.end_ids[0]

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **kwargs: Any) -> list[int]:
        return self.model.tokenizer.encode(string, add_special_tokens=False).ids

    def _loglikelihood_tokens(
        self, requests: Sequence[tuple[Any, list[int], list[int]]], **kwargs: Any
    ) -> list[tuple[float, bool]]:
        """Of continuations after contexts, as token ids; and whether no token of one has a likelier rival."""
        found = []
        for key, context, continuation in requests:
            context = self._before(context, len(continuation))
            scores = token_scores(self.model, continuation, context, self.scoring)
            found.append((scores.total, scores.greedy))
            self.cache_hook.add_partial("loglikelihood", key, found[-1])
        return found

    def _before(self, context: list[int], scored: int) -> list[int]:
        """As much of the context as there is room for, without an end token that stands for the beginning of a text."""
        return [] if context == [self.eot_token_id] else context[max(0, len(context) + scored - self.max_length) :]

    def loglikelihood_rolling(self, requests: list[Instance], disable_tqdm: bool = False) -> list[float]:
        """Of whole texts; one beyond `max_length` is cut into windows that overlap in one token."""
        found = []
        for text in (request.args[0] for request in requests):
            windows = get_rolling_token_windows(self.tok_encode(text), self.eot_token_id, self.max_length - 1, 1)
            parts = [(self._before(context, len(ids)), ids) for context, ids in map(make_disjoint_window, windows)]
            bounds = [text_bound(self.model, ids, context, self.scoring) for context, ids in parts]
            found.append(-sum(bound.nats for bound in bounds))
            self.cache_hook.add_partial("loglikelihood_rolling", (text,), found[-1])
        return found

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        """Answers up to a stop of the task. Raises EvaluationError for a wish of a task that the sampler lacks."""
        prompts, wishes = [], []
        for prompt, wish in (tuple(request.args) for request in requests):  # all checked before the first answer
            prompts.append(prompt)
            wishes.append(self._wish(wish))
            self.model.new_blocks(len(self.model.tokenize(prompt)), wishes[-1][0])
        answers: dict[int, str] = {}
        for settings in dict.fromkeys(settings for settings, _ in wishes):
            rows = [row for row, (own, _) in enumerate(wishes) if own == settings]
            rows.sort(key=lambda row: len(prompts[row]))
            for start in range(0, len(rows), self.batch):
                part = rows[start : start + self.batch]
                texts = self.model.generate([prompts[row] for row in part], settings, sequences=part)
                for row, text in zip(part, texts, strict=True):
                    answers[row] = _cut(text, wishes[row][1])
                    self.cache_hook.add_partial("generate_until", requests[row].args, answers[row])
        return [answers[row] for row in range(len(requests))]

    def _wish(self, given: Mapping[str, Any]) -> tuple[SamplerSettings, list[str]]:
        """The settings and stops that a task wants."""
        wish = dict(given)
        until = wish.pop("until", None) or []
        length = next((wish[name] for name in LENGTHS if name in wish), MOST_TOKENS)
        sampled = wish.pop("do_sample", wish.get("temperature", 0) > 0)
        settings = {name: value for name, value in wish.items() if name not in LENGTHS}
        temperature = settings.pop("temperature", 1.0) if sampled else 0.0
        known = [field.name for field in dataclasses.fields(SamplerSettings)]
        if unknown := [name for name in settings if name not in known]:
            wanted = ", ".join(("until", "do_sample", *LENGTHS, *known))
            raise EvaluationError(f"a task asks for {unknown[0]}, expected some of {wanted}")
        settings |= {"max_new_tokens": length, "temperature": temperature}
        return SamplerSettings.from_dict(settings, self.settings), [until] if isinstance(until, str) else list(until)


def _cut(text: str, stops: Sequence[str]) -> str:
    """The text up to the first of its stops."""
    return text[: min((text.index(stop) for stop in stops if stop and stop in text), default=len(text))]


if __name__ == "__main__":
    from lm_eval.__main__ import cli_evaluate

    cli_evaluate()
