"""Answers in the form of OpenAI's API: texts cut at their stops, chunks of a stream and whole bodies."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any

from coladlm import ColaDLM
from coladlm.evaluate.token_scores import TokenScores
from coladlm.sampling.events import BlockDone, Finished
from coladlm.sampling.sentences import last_sentence_end
from coladlm.serve.drafts import Draft

from ..shared.token_pieces import BROKEN, pieces
from .parsed_request import ParsedRequest
from .prompt_scores import opening


@dataclasses.dataclass
class Token:
    """A token of an answer, or of a prompt whose tokens are scored, and, where they are wanted, its log-probability
    (None where it has none) and the likeliest alternatives.

    text: what it adds, set when it is sent.
    """

    id: int
    logprob: float | None = 0.0
    top: list[tuple[str, float]] = dataclasses.field(default_factory=list)
    text: str = ""


@dataclasses.dataclass
class Choice:
    """One answer so far. text: up to its stop. sent: characters sent in a stream, -1 when its end was. reason: why it
    ended.
    """

    text: str = ""
    sent: int = 0
    reason: str | None = None
    tokens: list[Token] = dataclasses.field(default_factory=list)


class Answer:
    """Follows the events of a request: after each, `choices` is what there is of its texts."""

    def __init__(self, model: ColaDLM, request: ParsedRequest) -> None:
        self.model, self.request = model, request
        recipe, per_latent = request.recipe, model.patch_size
        per_block = model.in_blocks_of(recipe.settings).block_size
        self.choices = [Choice() for _ in recipe.sequences()]
        # tokens of the first block that belong to the prompt: what its whole blocks leave over
        skips = [-(-count // per_latent) % per_block * per_latent for count in request.prompt_tokens]
        self.skips = [skip for skip in skips for _ in range(recipe.variations)]
        counts = [model.new_blocks(count, recipe.settings)[0] for count in request.prompt_tokens]
        self.blocks = [count for count in counts for _ in range(recipe.variations)]
        self.special = frozenset((*model.end_ids, model.pad_id))
        self.prompts: list[list[Token]] = []  # the scored tokens of each, where they are wanted

    @property
    def ended(self) -> bool:
        """Has every text come to its end, by itself or at a stop?"""
        return all(choice.reason is not None for choice in self.choices)

    def take(self, event: Any) -> None:
        """Takes in what a block or the end has brought."""
        if not isinstance(event, BlockDone | Finished):
            return
        if isinstance(event, BlockDone):
            self._take_tokens(event)
        for index, (choice, text) in enumerate(zip(self.choices, event.texts, strict=True)):
            if choice.reason is not None:
                continue
            self._extend(choice, text, isinstance(event, Finished))
            if isinstance(event, Finished) and choice.reason is None:
                choice.reason = "stop" if event.reasons[index] == "end" else "length"

    def _extend(self, choice: Choice, text: str, whole: bool) -> None:
        found = [(text.index(stop), stop) for stop in self.request.stops if stop in text]
        if found:
            choice.text, choice.reason = text[: min(found)[0]], "stop"
        elif whole:
            choice.text = text
        elif self.request.recipe.settings.whole_sentences:  # what has begun may yet be left out
            choice.text = text[: last_sentence_end(text, going_on=True)]
        else:  # what may yet become the start of a stop, or another character, waits
            held = max((_overlap(text, stop) for stop in self.request.stops), default=0)
            choice.text = text[: len(text) - held].rstrip(BROKEN)

    def _take_tokens(self, done: BlockDone) -> None:
        most, top = self.request.recipe.settings.max_new_tokens, self.request.logprobs
        for row, (choice, skip) in enumerate(zip(self.choices, self.skips, strict=True)):
            if not done.active[row]:
                continue
            first = skip if done.block == 0 else 0
            likeliest = None if top is None else done.likeliest(row, top)
            for place, token in list(enumerate(done.token_ids[row].tolist()))[first:]:
                if len(choice.tokens) < most:
                    if likeliest is None:
                        choice.tokens.append(Token(token))
                    else:
                        ids, values, taken = likeliest[place]
                        top_tokens = [(self._name(i), value) for i, value in zip(ids, values, strict=True)]
                        choice.tokens.append(Token(token, taken, top_tokens))

    def drafts(self, draft: Draft) -> dict[int, str]:
        """By number, the answers that a step works on, as they would stand if its clean estimate were the end of it:
        what is written, and the likeliest tokens of the estimate after it, cut as the text will be.
        """
        settings, ends = self.request.recipe.settings, self.model.end_ids
        likeliest, found = draft.token_ids.tolist(), {}
        for row, (choice, skip) in enumerate(zip(self.choices, self.skips, strict=True)):
            if choice.reason is not None or not draft.active[row]:
                continue
            new = likeliest[row][skip if draft.block == 0 else 0 :]
            if settings.stop_at_end:
                new = list(itertools.takewhile(lambda token: token not in ends, new))
            ids = [token.id for token in choice.tokens] + new
            text = self.model.read(ids[: settings.max_new_tokens]).rstrip(BROKEN)
            cuts = [text.index(stop) for stop in self.request.stops if stop in text]
            found[row] = text[: min(cuts, default=len(text))]
        return found

    def _name(self, token: int) -> str:
        return pieces(self.model.tokenizer, [token], special=self.special)[0] or str(
            self.model.tokenizer.id_to_token(token)
        )

    def usage(self) -> dict[str, int]:
        """Tokens of the prompts, of the answers up to their stops, and of both."""
        prompts = sum(self.request.prompt_tokens)
        answers = sum(len(self.tokens_of(choice)) for choice in self.choices)
        return {"prompt_tokens": prompts, "completion_tokens": answers, "total_tokens": prompts + answers}

    def echo(self, index: int) -> str:
        """What stands before an answer where the prompt is to be repeated."""
        recipe = self.request.recipe
        return recipe.texts[index // recipe.variations] if self.request.echo else ""

    def more(self, index: int) -> dict[str, Any]:
        """What a finished answer has beside the fields of OpenAI's API."""
        return {}

    def end_here(self) -> None:
        """Ends every text as it is: nothing is to be written."""
        for choice in self.choices:
            choice.reason = choice.reason or "length"

    def take_scores(self, scores: Sequence[TokenScores | None]) -> None:
        """Takes in the scores of the prompts."""
        assert self.request.scored is not None and self.request.logprobs is not None
        for ids, found in zip(self.request.scored, scores, strict=True):
            first = len(opening(self.model, ids))
            texts = pieces(self.model.tokenizer, ids[first:], special=self.special, whole=True)
            tokens = [Token(token, None) for token in ids[:first]]
            for place, (token, text) in enumerate(zip(ids[first:], texts, strict=True)):
                assert found is not None  # there is a token, so there are scores
                own, (rival, other) = found.log_probs[place], found.rivals[place]
                top = [(self._name(rival), other), (self._name(token), own)]
                tokens.append(Token(token, own, sorted(top, key=lambda pair: -pair[1])[: self.request.logprobs], text))
            self.prompts.append(tokens)

    def scored_tokens(self, index: int) -> list[Token]:
        """The tokens of a prompt and all that were written after it, an end token too: as many as were asked for."""
        tokens = self.choices[index].tokens
        end = next((i + 1 for i, token in enumerate(tokens) if token.id in self.model.end_ids), len(tokens))
        texts = pieces(self.model.tokenizer, [token.id for token in tokens[:end]], special=self.special, whole=True)
        written = [dataclasses.replace(token, text="" if token.id in self.special else text)
                   for token, text in zip(tokens[:end], texts, strict=True)]  # fmt: skip
        return self.prompts[index // self.request.recipe.variations] + written

    def tokens_of(self, choice: Choice, start: int = 0) -> list[Token]:
        """The tokens of an answer that begin before its end, from the character `start` on."""
        kept, at, ends = [], 0, self.request.recipe.settings.stop_at_end
        ids, ended = [token.id for token in choice.tokens], choice.reason is not None
        texts = pieces(self.model.tokenizer, ids, special=self.special, whole=ended)
        for token, text in zip(choice.tokens, texts, strict=True):
            if at >= len(choice.text) or (ends and token.id in self.model.end_ids):
                break
            text = "" if token.id in self.special else text
            if at >= start:
                kept.append(dataclasses.replace(token, text=text))
            at += len(text)
        return kept


def _overlap(text: str, stop: str) -> int:
    """How many characters at the end of `text` begin `stop`."""
    return next((n for n in range(min(len(stop) - 1, len(text)), 0, -1) if text.endswith(stop[:n])), 0)


def completion_logprobs(tokens: Sequence[Token], offset: int) -> dict[str, Any]:
    """The field `logprobs` of /v1/completions. offset: the characters before the first token."""
    offsets = []
    for token in tokens:
        offsets.append(offset)
        offset += len(token.text)
    return {
        "tokens": [token.text for token in tokens],
        "token_logprobs": [token.logprob for token in tokens],
        "top_logprobs": [dict(token.top) for token in tokens],
        "text_offset": offsets,
    }


def chat_logprobs(tokens: Sequence[Token]) -> dict[str, Any]:
    """The field `logprobs` of /v1/chat/completions."""

    def entry(text: str, logprob: float | None) -> dict[str, Any]:
        return {"token": text, "logprob": logprob, "bytes": list(text.encode("utf-8", "surrogatepass"))}

    content = [{**entry(t.text, t.logprob), "top_logprobs": [entry(*other) for other in t.top]} for t in tokens]
    return {"content": content, "refusal": None}


class ResponseWriter:
    """Writes what an Answer holds in the form of one of the two endpoints."""

    def __init__(self, chat: bool, answer: Answer, model_name: str, number: str, created: int) -> None:
        self.chat, self.answer = chat, answer
        kind = "chat.completion" if chat else "text_completion"
        self.head = {"id": number, "object": kind, "created": created, "model": model_name,
                     "system_fingerprint": answer.request.recipe.model or None}  # fmt: skip
        self.chunk_head = {**self.head, "object": "chat.completion.chunk" if chat else kind}

    def body(self) -> dict[str, Any]:
        """The body that is sent at the end. `recipe` gives the same texts again, here and everywhere else."""
        choices = [self._choice(i, choice) for i, choice in enumerate(self.answer.choices)]
        answer = {**self.head, "choices": choices, "usage": self.answer.usage()}
        if self.answer.request.prompt_only:
            return answer
        return {**answer, "recipe": self.answer.request.recipe.to_dict()}

    def _choice(self, index: int, choice: Choice) -> dict[str, Any]:
        common = {"index": index, "finish_reason": choice.reason, "logprobs": self._logprobs(index, choice, 0)}
        if self.chat:
            return {**common, "message": {"role": "assistant", "content": choice.text, "refusal": None}}
        return {**common, "text": self.answer.echo(index) + choice.text, **self.answer.more(index)}

    def _logprobs(self, index: int, choice: Choice, start: int) -> dict[str, Any] | None:
        if self.answer.request.logprobs is None:
            return None
        if self.answer.request.scored is not None:
            return completion_logprobs(self.answer.scored_tokens(index), 0)
        tokens = self.answer.tokens_of(choice, start)
        if self.chat:
            return chat_logprobs(tokens)
        return completion_logprobs(tokens, len(self.answer.echo(index)) + start)

    def first_chunks(self) -> list[dict[str, Any]]:
        """The chunks that open a stream: roles in a chat, the prompts where they are to be repeated."""
        out = []
        for index in range(len(self.answer.choices)):
            echo = self.answer.echo(index)
            if self.chat:
                out.append(self._chunk(index, {"role": "assistant", "content": ""}, None, None))
            elif echo:
                out.append(self._chunk(index, echo, None, None))
        return out

    def new_chunks(self) -> list[dict[str, Any]]:
        """The chunks of what is new since the last call."""
        out = []
        for index, choice in enumerate(self.answer.choices):
            text = choice.text[choice.sent :]
            if text:
                probabilities = self._logprobs(index, choice, choice.sent)
                out.append(self._chunk(index, {"content": text} if self.chat else text, None, probabilities))
                choice.sent = len(choice.text)
            if choice.reason is not None and choice.sent >= 0:
                end = self._chunk(index, {} if self.chat else "", choice.reason, None)
                end["choices"][0] |= self.answer.more(index)
                out.append(end)
                choice.sent = -1
        return out

    def draft_chunks(self, draft: Draft) -> list[dict[str, Any]]:
        """The chunks of a step: nothing new in the text, and beside it a draft of the whole. Counts begin at 1."""
        out = []
        for index, text in self.answer.drafts(draft).items():
            chunk = self._chunk(index, {} if self.chat else "", None, None)
            chunk["choices"][0]["draft"] = {
                "text": self.answer.echo(index) + text, "block": draft.block + 1, "blocks": self.answer.blocks[index],
                "step": draft.index + 1, "steps": draft.steps,
            }  # fmt: skip
            out.append(chunk)
        return out

    def _chunk(self, index: int, part: Any, reason: str | None, logprobs: Any) -> dict[str, Any]:
        body = {"delta": part} if self.chat else {"text": part}
        choice = {"index": index, **body, "finish_reason": reason, "logprobs": logprobs}
        usage = {"usage": None} if self.answer.request.stream_usage else {}
        return {**self.chunk_head, "choices": [choice], **usage}

    def last_chunks(self) -> list[dict[str, Any]]:
        """The chunk that closes a stream, where usage is wanted."""
        if not self.answer.request.stream_usage:
            return []
        return [{**self.chunk_head, "choices": [], "usage": self.answer.usage()}]
