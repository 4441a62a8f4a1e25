"""Who answers: a Cola-DLM, its VAE alone, a transformer. Each takes instances of one task and size as a batch."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import torch

from ....baseline.baseline import Baseline, BaselineSettings
from ....checkpoint import CheckpointError
from ....model import ColaDLM
from ....networks.config import ConfigError
from ....sampling.events import Finished
from ....settings import SamplerSettings
from ....structured.generators import Instance, is_free, longest_completion
from ....structured.vocabulary import END_ID, decode, encode, make_tokenizer
from ..results import ResultError

SLACK = 8  # tokens beyond the longest answer that is right: who has not ended by then is wrong
FIELD = 13  # symbols of the longest JSON field with its comma, as in "a":[1,2,3],


@dataclasses.dataclass(frozen=True)
class Answer:
    """text: all that was written before the end token, special tokens by their names. ended: was there one."""

    text: str
    ended: bool


@dataclasses.dataclass(frozen=True)
class Pair:
    """A Cola-DLM and a transformer with the tokenizer of the structured tasks."""

    cola: ColaDLM
    transformer: Baseline
    settings: SamplerSettings

    @classmethod
    def load(cls, folder: Path, settings: Callable[[SamplerSettings], SamplerSettings] = lambda own: own) -> Pair:
        """The models in folder/cola and folder/transformer, on the CPU in float32.

        settings: those of the sampler, from the model's own. Raises ResultError, SettingsError.
        """
        if not folder.is_dir():
            raise ResultError(f"{folder}: no such folder, expected one that `python -m coladlm.train.structured` wrote")
        try:
            cola = ColaDLM.from_pretrained(folder / "cola", "cpu", "float32")
            transformer = Baseline.from_pretrained(folder / "transformer", "cpu", "float32")
        except (CheckpointError, ConfigError) as error:
            raise ResultError(str(error)) from error
        wanted = make_tokenizer().get_vocab()
        for name, model in (("cola", cola), ("transformer", transformer)):
            if model.tokenizer.get_vocab() != wanted:
                raise ResultError(f"{folder / name}: its tokens are not the symbols of the structured tasks, expected "
                                  "a model that `python -m coladlm.train.structured` wrote")  # fmt: skip
        return cls(cola, transformer, settings(cola.defaults))

    def writers(self) -> Mapping[str, Callable[[Sequence[Instance]], list[Answer]]]:
        """By name: those who answer a batch of instances of one task and size."""
        return {"cola": self.write_cola, "vae": self.write_vae, "transformer": self.write_transformer}

    def events(self, writer: str, instances: Sequence[Instance]) -> Iterator[object]:
        """What "cola" or "transformer" does to answer a batch of instances of one task and size, to its Finished.

        The transformer is greedy, but where the task leaves all to chance: there as its own probabilities say.
        """
        prompts, longest = [x.prompt for x in instances], room(instances[0])
        if writer == "cola":
            settings = dataclasses.replace(self.settings, max_new_tokens=longest, stop_at_end=True)
            return self.cola.sample(prompts, settings)
        free = is_free(instances[0].task)
        own = BaselineSettings(longest, float(free), top_p=1.0, seed=self.settings.seed)
        return self.transformer.sample(prompts, own)

    def write_cola(self, instances: Sequence[Instance]) -> list[Answer]:
        return answers_of(_finished(self.events("cola", instances)))

    def write_transformer(self, instances: Sequence[Instance]) -> list[Answer]:
        return answers_of(_finished(self.events("transformer", instances)))

    @torch.inference_mode()
    def write_vae(self, instances: Sequence[Instance]) -> list[Answer]:
        """Reads prompt and answer and gives the answer back: the most that any flow can get through this decoder."""
        return [self._round_trip(x) for x in instances]

    def _round_trip(self, instance: Instance) -> Answer:
        ids, per_block = [*encode(instance.prompt + instance.answer), END_ID], self.cola.vae.config.tokens_per_block
        padded = torch.full((1, -(-len(ids) // per_block) * per_block), self.cola.pad_id)
        padded[0, : len(ids)] = torch.tensor(ids)
        posterior = self.cola.vae.encode(padded)
        read = self.cola.vae.decode(self.cola.vae.scale(posterior.mean)).argmax(-1)[0].tolist()
        answer = read[len(instance.prompt) :]
        end = answer.index(END_ID) if END_ID in answer else len(answer)
        return Answer(decode(answer[:end]), end < len(answer))


def room(instance: Instance) -> int:
    """Tokens that an answer to a task of this size may have: the longest that is right, its end and SLACK."""
    longest = {"recall": 2, "arithmetic": instance.size + 1, "json": 1 + FIELD * instance.size}
    if instance.task.startswith("close"):
        return longest_completion(instance.size) + 1 + SLACK
    return longest.get(instance.task, instance.size) + 1 + SLACK


def timed(write: Callable[[Sequence[Instance]], list[Answer]],
          instances: Sequence[Instance]) -> tuple[list[Answer], float]:  # fmt: skip
    """The answers and the seconds that all of them took."""
    start = time.perf_counter()
    answers = write(instances)
    return answers, time.perf_counter() - start


def _finished(events: Iterable[object]) -> Finished:
    for event in events:
        if isinstance(event, Finished):
            return event
    raise RuntimeError("the sampler ended without a result")


def answers_of(finished: Finished) -> list[Answer]:
    """What was written, as answers."""
    return [Answer(decode(ids), reason == "end")
            for ids, reason in zip(finished.token_ids, finished.reasons, strict=True)]  # fmt: skip
