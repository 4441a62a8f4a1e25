"""The part `long` of the bench: what context gives, what becomes of long texts, and what length costs."""

from __future__ import annotations

import dataclasses
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from ...baseline.baseline import Baseline, BaselineError, BaselineSettings, Chosen
from ...model import ColaDLM
from ...sampling.events import Step
from ..measures import ngrams, units
from ..stories import EvaluationError, first_sentence
from ..text_likelihood import BoundSettings, text_bound
from .intervals import mean_interval, mean_share_interval, ratio_interval, share_interval
from .measuring import Measuring
from .results import Cell, Chart, Line, Table

COLA, TRANSFORMER, REAL = "Cola-DLM", "transformer", "real stories"
NAMED = re.compile(r"\bnamed ([A-Z][a-z]+)")
OTHER_NAMES = re.compile(r"(?<![.!?\"'] )(?<!^)\b(?!I\b)[A-Z][a-z]*")  # a capital within a sentence
# of different lengths, so that the name falls on different places of a block
OPENINGS = ("Once upon a time there was", "One day there was", "Once there was", "A long time ago there lived")
NAMES = ("Lily", "Tom", "Sara", "Ben", "Anna", "Max", "Mia", "Tim", "Lucy", "Jack", "Emma", "Sam")


@dataclasses.dataclass(frozen=True)
class Request:
    """items: held-out stories of which `target` tokens are scored after each number of tokens in `lengths`. draws: of
    each bound. texts: long ones that are written, of `tokens` tokens, looked at in windows of `window` words.
    distances: tokens between a name and the place where it is asked for.
    """

    items: int = 6
    target: int = 16
    lengths: tuple[int, ...] = (16, 64, 128, 256, 512, 1024, 2048, 4096)
    draws: int = 4
    texts: int = 16
    tokens: int = 208
    window: int = 25
    distances: tuple[int, ...] = (0, 32, 96, 192, 512, 1024)
    seed: int = 0
    batch: int = 8

    def __post_init__(self) -> None:
        for name, least in (("items", 2), ("target", 1), ("draws", 2), ("texts", 2), ("tokens", 8), ("window", 2),
                            ("batch", 1)):  # fmt: skip
            if getattr(self, name) < least:
                raise EvaluationError(f"{name} is {getattr(self, name)}, expected {least} or more")
        for name, least in (("lengths", 1), ("distances", 0)):
            if not getattr(self, name) or min(getattr(self, name)) < least:
                raise EvaluationError(f"{name} is {getattr(self, name)!r}, expected numbers of {least} or more")


# what context gives


@dataclasses.dataclass(frozen=True)
class Passage:
    """Token ids of a place in a story: those before it, the nearest last, other stories before its own; and its own."""

    before: list[int]
    target: list[int]


def passages(model: ColaDLM, baseline: Baseline, stories: Sequence[str], request: Request) -> list[Passage]:
    """Places in held-out stories that only the seed decides. Raises EvaluationError where the stories do not suffice,
    or the two models cut text into different tokens.
    """
    random = np.random.default_rng(request.seed)
    ids = [model.tokenize(stories[i].strip()) for i in random.permutation(len(stories))]
    if any(baseline.tokenize(model.read(x)) != x for x in ids[:3]):
        raise EvaluationError("the two models have different tokenizers, expected the same for the same tokens")
    longest = min(max(request.lengths), model.max_tokens - request.target)
    own, found = 2 * request.target, []
    chosen = [i for i, x in enumerate(ids) if len(x) >= own + request.target][: request.items]
    for i in chosen:
        last = len(ids[i]) - request.target
        cut = int(random.integers(max(own, last // 2), last + 1))  # late in its story, so that it has a context
        others = [token for j in range(i + 1, i + len(ids)) for token in (*ids[j % len(ids)], model.end_ids[0])]
        whole = [*others[: max(0, longest - cut)], *ids[i][:cut]]
        found.append(Passage(whole[-longest:], ids[i][cut : cut + request.target]))
    if len(found) < request.items or any(len(p.before) < longest for p in found):
        raise EvaluationError(f"{len(found)} stories have a passage after {longest:,} tokens, expected {request.items}")
    return found


def contexts(model: ColaDLM, baseline: Baseline, stories: Sequence[str], request: Request,
             measuring: Measuring) -> dict[str, dict[int, list[float]]]:  # fmt: skip
    """Nats of each passage by the length of its context, for each model; what is too long for a model is absent."""
    found: dict[str, dict[int, list[float]]] = {COLA: {}, TRANSFORMER: {}}
    chosen = passages(model, baseline, stories, request)
    settings = BoundSettings(draws=request.draws, seed=request.seed, read_at=0.4)
    for length in request.lengths:
        if length + request.target > model.max_tokens:
            continue
        for number, passage in enumerate(chosen):
            before = passage.before[-length:]
            item = measuring.item(f"context {length}, {number}", lambda p=passage, b=before: [
                text_bound(model, p.target, b, settings).nats, _exact(baseline, b, p.target)])  # fmt: skip
            found[COLA].setdefault(length, []).append(item[0])
            if item[1] is not None:
                found[TRANSFORMER].setdefault(length, []).append(item[1])
            measuring.progress(f"after {length} tokens", number + 1, len(chosen))
    return found


@torch.inference_mode()
def _exact(baseline: Baseline, before: Sequence[int], target: Sequence[int]) -> float | None:
    """Nats of tokens after others under the transformer; None where they are more than it can read."""
    ids = [baseline.start_id, *before, *target]
    if len(ids) - 1 > baseline.network.config.max_tokens:
        return None
    hidden = baseline.network.hidden(torch.tensor([ids[:-1]], device=baseline.device))
    log_probs = baseline.network.logits(hidden)[0].log_softmax(-1)
    return -log_probs[torch.arange(len(before), len(ids) - 1), ids[-len(target) :]].sum().item()


def context_table(found: Mapping[str, Mapping[int, Sequence[float]]], target: int) -> tuple[Table, Chart]:
    """A row for each length of the context, and the same as a chart."""
    lengths = sorted(found[COLA])

    def cell(who: str, length: int) -> Cell:
        values = found[who].get(length)
        return None if values is None else ratio_interval(values, [target] * len(values))

    rows = [[length, cell(COLA, length), cell(TRANSFORMER, length)] for length in lengths]
    caption = (
        "Nats a token of the same passages, after more and more of what stands before them: their own story, then "
        "other stories. For the Cola-DLM an upper bound, for the transformer the exact value, as far as it can read. "
        "What is longer than the texts of its training a model has never seen."
    )
    table = Table("What context gives", caption, ["tokens before", f"{COLA}, at most", TRANSFORMER], rows)
    lines = [Line(who, sorted(values), [ratio_interval(values[n], [target] * len(values[n])) for n in sorted(values)])
             for who, values in found.items() if values]  # fmt: skip
    return table, Chart("Likelihood by length of the context", caption, "tokens before", "nats a token", lines, ["x"])


# long texts


def openings(stories: Sequence[str], count: int, seed: int) -> list[tuple[str, str, str]]:
    """(first sentence, the name in it, the rest) of stories in an order that only the seed decides."""
    found = []
    for index in np.random.default_rng(seed).permutation(len(stories)):
        opening, rest = first_sentence(stories[index].strip())
        name = NAMED.search(opening)
        if name and len(units(rest)) >= 50:
            found.append((opening, name[1], rest))
        if len(found) == count:
            return found
    raise EvaluationError(f"{len(found)} stories name somebody in their first sentence, expected {count}")


def long_texts(model: ColaDLM, baseline: Baseline, chosen: Sequence[tuple[str, str, str]], request: Request,
               measuring: Measuring) -> dict[str, list[str]]:  # fmt: skip
    """What each writes after the openings, ends of texts included; and how the stories really go on."""
    prompts = [opening for opening, _, _ in chosen]
    # a sentence that the length cuts is measured, too, as in the transformer's texts
    settings = dataclasses.replace(
        model.defaults, max_new_tokens=request.tokens, seed=request.seed, whole_sentences=False
    )
    own = BaselineSettings(max_new_tokens=request.tokens, seed=request.seed)
    found = {COLA: [], TRANSFORMER: [], REAL: [rest for _, _, rest in chosen]}
    for start in range(0, len(prompts), request.batch):
        part = prompts[start : start + request.batch]
        keys = list(range(start, start + len(part)))
        found[COLA] += measuring.item(f"texts, {COLA}, {start}",
                                      lambda p=part, k=keys: model.generate(p, settings, sequences=k))  # fmt: skip
        measuring.progress("long texts", len(found[COLA]), len(prompts))
        found[TRANSFORMER] += measuring.item(f"texts, {TRANSFORMER}, {start}",
                                             lambda p=part, k=keys: baseline.generate(p, own, k))  # fmt: skip
    return found


def windows(text: str, size: int) -> list[list[str]]:
    """The whole windows of so many words and marks, in order."""
    words = units(text)
    return [words[i : i + size] for i in range(0, len(words) - size + 1, size)]


def repeated_by_window(text: str, size: int, n: int = 3) -> list[float]:
    """For each window the share of its n-grams that the text has had before."""
    seen: set[tuple[str, ...]] = set()
    found = []
    for window in windows(text, size):
        grams = ngrams(window, n)
        found.append(sum(gram in seen for gram in grams) / max(1, len(grams)))
        seen.update(grams)
    return found


def drift_charts(texts: Mapping[str, Sequence[str]], names: Sequence[str], size: int) -> list[Chart]:
    """Repetition and the name of the first sentence, by place in the text."""
    repeated, kept = [], []
    for who, written in texts.items():
        again = [repeated_by_window(text, size) for text in written]
        named = [[name.lower() in window for window in windows(text, size)]
                 for text, name in zip(written, names, strict=True)]  # fmt: skip
        for lines, rows in ((repeated, again), (kept, named)):
            count = max(map(len, rows))
            columns = [[float(row[i]) for row in rows if len(row) > i] for i in range(count)]
            columns = [column for column in columns if len(column) >= min(4, len(rows))]
            x = [(i + 1) * size for i in range(len(columns))]
            lines.append(Line(who, x, [mean_share_interval(column) for column in columns]))
    return [
        Chart("Repetition in long texts", f"Share of the 3-grams of each {size} words that the text has had before. "
              "Only texts that go on so far count.", "words written", "share repeated", repeated),
        Chart("A name is kept", f"Share of texts that name the one of their first sentence within each {size} words.",
              "words written", "share that name them", kept),
    ]  # fmt: skip


def drift_table(texts: Mapping[str, Sequence[str]], names: Sequence[str], size: int) -> Table:
    """A row for each who writes."""
    rows: list[list[Cell]] = []
    for who, written in texts.items():
        again = [repeated_by_window(text, size)[1:] for text in written]
        back = [name.lower() in units(text) for text, name in zip(written, names, strict=True)]
        late = [name.lower() in windows(text, size)[-1] for text, name in zip(written, names, strict=True)
                if len(windows(text, size)) > 2]  # fmt: skip
        rows.append([who, mean_interval([len(units(text)) for text in written]), share_interval(back),
                     share_interval(late) if late else None,
                     mean_share_interval([float(np.mean(x)) for x in again if x]) if any(again) else None])  # fmt: skip
    return Table(
        "Long texts",
        f"Texts that go on from a first sentence with a name. The last {size} words count where there are three times "
        "as many; repeated 3-grams after the first window.",
        ["who", "words and marks", "the name comes back", "the name in the last words", "3-grams repeated"], rows,
    )  # fmt: skip


# recall


def recall_prompts(model: ColaDLM, stories: Sequence[str], distance: int, seed: int) -> list[tuple[str, str]]:
    """(prompt, name): somebody is named, about so many tokens of sentences without names follow, and their name is
    asked for.
    """
    random, plain = np.random.default_rng(seed), []
    for index in random.permutation(len(stories)):
        sentences = re.split(r"(?<=[.!?]) +", " ".join(stories[index].split()))
        plain += [s for s in sentences if s.endswith(".") and '"' not in s and not OTHER_NAMES.search(s)]
        if len(plain) > 2000:
            break
    found = []
    for number, name in enumerate(NAMES):
        filler, count = "", 0
        while count < distance:
            filler += " " + plain[int(random.integers(len(plain)))]
            count = len(model.tokenize(filler))
        opening = OPENINGS[number % len(OPENINGS)]
        found.append((f"{opening} a child named {name}.{filler} \"What is your name?\" asked the old "
                      'man. The child said, "My name is', name))  # fmt: skip
    return found


def recall(model: ColaDLM, baseline: Baseline, stories: Sequence[str], request: Request,
           measuring: Measuring) -> dict[str, dict[int, list[bool]]]:  # fmt: skip
    """Whether each model says the name, by distance; a distance that a model cannot read is absent."""
    settings = dataclasses.replace(model.defaults, max_new_tokens=4, seed=request.seed, whole_sentences=False)
    own = BaselineSettings(max_new_tokens=4, temperature=0.0)
    found: dict[str, dict[int, list[bool]]] = {COLA: {}, TRANSFORMER: {}}
    for distance in request.distances:
        prompts = recall_prompts(model, stories, distance, request.seed)
        item = measuring.item(f"recall {distance}", lambda p=prompts: [
            _says(p, model.generate([prompt for prompt, _ in p], settings)), _said_by(baseline, p, own)])  # fmt: skip
        found[COLA][distance] = item[0]
        if item[1] is not None:
            found[TRANSFORMER][distance] = item[1]
        measuring.progress("recall", len(found[COLA]), len(request.distances))
    return found


def _says(prompts: Sequence[tuple[str, str]], answers: Sequence[str]) -> list[bool]:
    return [units(answer)[:1] == [name.lower()] for (_, name), answer in zip(prompts, answers, strict=True)]


def _said_by(baseline: Baseline, prompts: Sequence[tuple[str, str]], settings: BaselineSettings) -> list[bool] | None:
    try:
        return _says(prompts, baseline.generate([prompt for prompt, _ in prompts], settings))
    except BaselineError:  # longer than it can read
        return None


def recall_table(found: Mapping[str, Mapping[int, Sequence[bool]]]) -> Table:
    """A row for each distance."""

    def cell(who: str, distance: int) -> Cell:
        values = found[who].get(distance)
        return None if values is None else share_interval(values)

    return Table(
        "A name over a distance",
        'A child is named, sentences without names follow, and "My name is" is to be gone on with: how often the name '
        f"is right, of {len(NAMES)} names. The transformer takes its likeliest token; nothing is there where it cannot "
        "read so far.",
        ["tokens between", COLA, TRANSFORMER],
        [[distance, cell(COLA, distance), cell(TRANSFORMER, distance)] for distance in sorted(found[COLA])],
    )


# what length costs


def costs(model: ColaDLM, baseline: Baseline, request: Request, measuring: Measuring) -> list[list[Cell]]:
    """A row for each length: seconds of the processor to read so many tokens and to write four more, and the megabytes
    of keys and values, for both.
    """
    rows = []
    for length in request.lengths:
        if length + 4 <= model.max_tokens:
            rows.append(measuring.item(f"cost {length}", lambda n=length: [
                n, *_cola_cost(model, n), *_transformer_cost(baseline, n)]))  # fmt: skip
            measuring.progress("cost", len(rows), len(request.lengths))
    return rows


def _text_of(tokenize: Any, length: int) -> str:
    """A text of so many tokens or a few more."""
    sentence = " The cat sat on the mat."
    return sentence * (length // max(1, len(tokenize(sentence))) + 1)


def _cola_cost(model: ColaDLM, length: int) -> list[float]:
    settings = dataclasses.replace(model.defaults, max_new_tokens=4, stop_at_end=False)
    ids = model.tokenize(_text_of(model.tokenize, length))[: length // model.block_size * model.block_size]
    plan = model.plan(model.read(ids), settings)
    history = model.sampler.history(model.sampler.rows([plan], settings, False), settings)
    caches = (history.flow_cache, history.decoder_cache, history.encoder_cache)
    times = [time.process_time()]
    times += [time.process_time() for event in model.run_plans([plan], settings) if isinstance(event, Step)]
    times.append(time.process_time())
    read, wrote = times[1] - times[0], times[-1] - times[1]  # the first step follows the reading
    return [round(read, 3), round(wrote, 3), sum(c.nbytes for c in caches if c is not None) / 1e6]


def _transformer_cost(baseline: Baseline, length: int) -> list[float | None]:
    if length + 4 > baseline.network.config.max_tokens:
        return [None, None, None]
    text = baseline.read(baseline.tokenize(_text_of(baseline.tokenize, length))[:length])
    settings = BaselineSettings(max_new_tokens=4, stop_at_end=False)
    times = [time.process_time()]
    times += [time.process_time() for event in baseline.sample([text], settings) if isinstance(event, Chosen)]
    c, weight = baseline.network.config, baseline.network.embedding.weight
    cache = 2 * c.num_layers * (length + 5) * c.dim * weight.element_size()
    return [round(times[1] - times[0], 3), round(times[-1] - times[1], 3), cache / 1e6]


def cost_table(rows: Sequence[Sequence[Cell]]) -> Table:
    """Time and memory by length, for both."""
    columns = ["tokens before"]
    columns += [f"{who}: {what}" for who in (COLA, TRANSFORMER)
                for what in ("seconds to read them", "seconds for 4 more tokens", "MB of keys and values")]  # fmt: skip
    return Table(
        "Time and memory by length",
        "Processor seconds of one text on one thread, measured once. Both keep keys and values of what stands before; "
        "the Cola-DLM those of three networks, and it goes over a block again at every step.",
        columns, rows,
    )  # fmt: skip
