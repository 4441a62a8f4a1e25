"""The baseline: an autoregressive transformer and a tokenizer; how likely a text is, and texts of its own.

    <folder>/config.json + model.safetensors + tokenizer.json

A text is read after the end token, which is what stands before a story in training. Weights come from safetensors
files alone, checked like those of the model (checkpoint.py).
"""

from __future__ import annotations

import dataclasses
import functools
import math
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from tokenizers import Tokenizer
from torch import Tensor

from ..assets import ASSETS
from ..checkpoint import CheckpointError, check_tokenizer, json_object, stored_tensors, weight_files
from ..checkpoint.form import WEIGHTS, norm_keys
from ..checkpoint.replaced_folder import found_at, replaced_folder, standing_folder
from ..checkpoint.saving import check_destination, write_json
from ..checkpoint.skeleton import without_weights
from ..checkpoint.weights import read_buffer
from ..hardware.devices import choose_device, choose_dtype
from ..sampling.events import Finished
from ..sampling.randomness import token_uniforms
from ..sampling.tokens import choose
from ..tokenizer import load_tokenizer, text_alone
from .transformer import Transformer, TransformerConfig

PARTS = {"config.json", WEIGHTS, "tokenizer.json"}
BUNDLED = ASSETS / "baseline"
START = "<|endoftext|>"
END_TOKENS = ("<|endoftext|>", "<|im_end|>")
MOST_NATS = 700.0
CONTEXT = 24  # tokens before a word that say enough of whether it is a whole one


class BaselineError(ValueError):
    """A text or setting that the baseline cannot work with; the message names what was found and what was wanted."""


@dataclasses.dataclass(frozen=True)
class BaselineSettings:
    """How the baseline chooses tokens. temperature: 0 is greedy. top_k (0: off), top_p (1: off). seed: of all draws."""

    max_new_tokens: int = 128
    temperature: float = 0.8
    top_k: int = 0
    top_p: float = 0.95
    seed: int = 0
    stop_at_end: bool = True

    def __post_init__(self) -> None:
        for name, fine, wanted in (
            ("max_new_tokens", self.max_new_tokens >= 1, "1 or more"),
            ("temperature", self.temperature >= 0 and math.isfinite(self.temperature), "0 or more"),
            ("top_k", self.top_k >= 0, "0 (off) or more"),
            ("top_p", 0 < self.top_p <= 1, "more than 0 and at most 1"),
            ("seed", self.seed >= 0, "0 or more"),
        ):
            if not fine:
                raise BaselineError(f"{name} is {getattr(self, name)!r}, expected {wanted}")


@dataclasses.dataclass(frozen=True)
class Likelihood:
    """log p of each token of a text, in nats, and how many words the text has (runs of non-space characters)."""

    log_probs: tuple[float, ...]
    words: int

    @property
    def total(self) -> float:
        """log p of the text."""
        return math.fsum(self.log_probs)


@dataclasses.dataclass(frozen=True)
class Chosen:
    """One more token of every sequence. token_ids: (batch,) on the CPU; active: (batch,), false where one has ended."""

    index: int
    token_ids: Tensor
    active: Tensor


class Baseline:
    """A baseline ready to use."""

    def __init__(self, network: Transformer, tokenizer: Tokenizer, name: str = "",
                 training: dict[str, Any] | None = None):  # fmt: skip
        """training: how it was trained, shown beside its numbers."""
        self.network, self.tokenizer = network.eval(), text_alone(tokenizer)
        self.name, self.training = name, training or {}
        start_id, end_ids = tokenizer.token_to_id(START), [tokenizer.token_to_id(token) for token in END_TOKENS]
        if start_id is None:
            raise CheckpointError(f"the tokenizer has no {START}, expected the token that every text starts with")
        self.start_id = start_id
        self.end_ids = frozenset(token for token in end_ids if token is not None)

    @classmethod
    def from_pretrained(cls, path: str | Path | None = None, device: str | torch.device = "auto",
                        dtype: str | torch.dtype = "auto") -> Baseline:  # fmt: skip
        """Loads a folder, or the bundled baseline if `path` is None. Raises CheckpointError or ConfigError."""
        folder = standing_folder(BUNDLED if path is None else Path(os.path.expanduser(path)))
        if not os.path.isdir(folder):
            raise CheckpointError(f"{folder}: found {found_at(folder)}, expected a baseline (config.json, {WEIGHTS})")
        data = json_object(folder / "config.json")
        config = TransformerConfig.from_dict(data, str(folder / "config.json"))
        check_tokenizer(folder / "tokenizer.json", config.vocab_size)
        device = choose_device(device)
        network = _load(folder, config, device, choose_dtype(dtype, device, config.dim))
        training = data.get("training")
        training = training if isinstance(training, dict) else {}
        return cls(network, load_tokenizer(folder / "tokenizer.json"), folder.name, training)

    @property
    def device(self) -> torch.device:
        return self.network.embedding.weight.device

    @property
    def parameters(self) -> int:
        """Number of parameters."""
        return sum(p.numel() for p in self.network.parameters())

    def tokenize(self, text: str) -> list[int]:
        """Text -> token ids, nothing added."""
        return self.tokenizer.encode(text, add_special_tokens=False).ids

    def read(self, ids: Sequence[int]) -> str:
        """Token ids -> text, special tokens left out."""
        return self.tokenizer.decode(list(ids), skip_special_tokens=True)

    # likelihood

    @torch.inference_mode()
    def log_likelihood(self, texts: Sequence[str], prompts: Sequence[str] | None = None,
                       ended: bool = False, batch_tokens: int = 4096) -> list[Likelihood]:  # fmt: skip
        """log p(text | prompt) for each text, token by token.

        prompts: what stands before each text ("" if absent), tokenised apart from it. ended: with the end token after
        each text. batch_tokens: about how many tokens pass at once. Raises BaselineError where prompt and text are
        longer than the network knows.
        """
        prompts = [""] * len(texts) if prompts is None else prompts
        before, end = [self.tokenize(prompt) for prompt in prompts], [self.start_id] if ended else []
        pairs = [(first, self.tokenize(text) + end) for first, text in zip(before, texts, strict=True)]
        lengths = [len(first) + len(ids) for first, ids in pairs]
        for number, length in enumerate(lengths):
            self._check_length(length, f"text {number} with its prompt")
        found: list[tuple[float, ...]] = [()] * len(pairs)
        order = sorted((i for i, (_, ids) in enumerate(pairs) if ids), key=lengths.__getitem__)
        while order:
            longest = 1 + lengths[order[-1]]
            rows, order = order[-max(1, batch_tokens // longest) :], order[: -max(1, batch_tokens // longest)]
            ids = torch.zeros(len(rows), longest, dtype=torch.long)  # what follows a text is never looked at
            for row, i in enumerate(rows):
                whole = [self.start_id, *pairs[i][0], *pairs[i][1]]
                ids[row, : len(whole)] = torch.tensor(whole)
            for i, values in zip(rows, self._next_log_probs(ids), strict=True):
                first, count = len(pairs[i][0]), len(pairs[i][1])
                found[i] = tuple(values[first : first + count].tolist())
        return [Likelihood(values, len(text.split())) for values, text in zip(found, texts, strict=True)]

    @torch.inference_mode()
    def word_ends(self, before: str, words: Sequence[str]) -> list[float]:
        """How likely each word, after a text, is a whole one: the probability that what follows it is no letter, digit
        or apostrophe. Of the text before, the last tokens alone are read.
        """
        start = [self.start_id, *self.tokenize(before)[-CONTEXT:]]
        rows = [[*start, *self.tokenize(word)][: self.network.config.max_tokens] for word in words]
        if not rows:
            return []
        ids = torch.zeros(len(rows), max(map(len, rows)), dtype=torch.long)  # what follows a row is never looked at
        for i, row in enumerate(rows):
            ids[i, : len(row)] = torch.tensor(row)
        hidden = self.network.hidden(ids.to(self.device))
        last = torch.stack([h[len(row) - 1] for h, row in zip(hidden, rows, strict=True)])
        p = self.network.logits(last).float().softmax(-1).cpu()
        return p[:, self._begins_anew].sum(-1).tolist()

    @functools.cached_property
    def _begins_anew(self) -> Tensor:
        """(vocab,) true for the tokens that do not go on with the word before them."""
        texts = [self.read([i]) for i in range(self.network.config.vocab_size)]
        return torch.tensor([not text or not (text[0].isalnum() or text[0] in "'’") for text in texts])

    def _next_log_probs(self, ids: Tensor) -> Tensor:
        """(B, n) ids -> (B, n - 1): log p of each id after the first, given those before it; on the CPU."""
        ids = ids.to(self.device)
        hidden = self.network.hidden(ids[:, :-1])
        rows = [-F.cross_entropy(self.network.logits(h), row, reduction="none")  # row by row: logits are large
                for h, row in zip(hidden, ids[:, 1:], strict=True)]  # fmt: skip
        return torch.stack(rows).cpu()

    def _check_length(self, tokens: int, what: str) -> None:
        longest = self.network.config.max_tokens
        if tokens > longest:
            raise BaselineError(f"{what} has {tokens:,} tokens, expected at most {longest:,}")

    # texts of its own

    def sample(self, prompts: Sequence[str], settings: BaselineSettings | None = None,
               sequences: Sequence[int] | None = None) -> Iterator[Chosen | Finished]:  # fmt: skip
        """Continues a batch of prompts: an event for every token, and the end.

        sequences: the key of each sequence's randomness, 0, 1, ... if absent; a sequence with the same key gives the
        same text alone and in any batch. Raises BaselineError at once.
        """
        settings = settings or BaselineSettings()
        if isinstance(prompts, str) or not len(prompts):
            raise BaselineError(f"prompts is {prompts!r}, expected a list of at least one text")
        sequences = list(range(len(prompts))) if sequences is None else list(sequences)
        if len(sequences) != len(prompts):
            raise BaselineError(f"there are {len(sequences)} sequence keys, expected {len(prompts)}, one a prompt")
        ids = [[self.start_id, *self.tokenize(prompt)] for prompt in prompts]
        for number, row in enumerate(ids):
            self._check_length(len(row) - 1 + settings.max_new_tokens, f"prompt {number} with its answer")
        return self._sample(ids, settings, sequences)

    @torch.inference_mode()
    def _sample(self, prompts: list[list[int]], settings: BaselineSettings,
                sequences: list[int]) -> Iterator[Chosen | Finished]:  # fmt: skip
        lengths = torch.tensor([len(ids) for ids in prompts])
        longest = int(lengths.max())
        padding = longest - lengths  # rows end together, so that every row writes the same slot of the cache
        ids = torch.zeros(len(prompts), longest, dtype=torch.long)
        for row, prompt in enumerate(prompts):
            ids[row, padding[row] :] = torch.tensor(prompt)
        cache = self.network.cache(longest + settings.max_new_tokens, padding)
        rows = list(range(len(prompts)))  # the sequences that are still written
        answers: list[list[int]] = [[] for _ in prompts]
        reasons = ["length"] * len(prompts)
        start = 0
        for index in range(settings.max_new_tokens):
            end = longest + index
            cache.place(start, end)
            positions = (torch.arange(start, end) - padding[rows, None]).clamp(min=0)
            hidden = self.network.hidden(ids.to(self.device), positions.to(self.device), cache)[:, -1:]
            chosen = self._choose(self.network.logits(hidden), index, settings, [sequences[row] for row in rows])
            token_ids, active = torch.zeros(len(prompts), dtype=torch.long), torch.zeros(len(prompts), dtype=torch.bool)
            token_ids[rows], active[rows] = chosen, True
            kept = []
            for place, (row, token) in enumerate(zip(rows, chosen.tolist(), strict=True)):
                if settings.stop_at_end and token in self.end_ids:
                    reasons[row] = "end"
                else:
                    answers[row].append(token)
                    kept.append(place)
            yield Chosen(index, token_ids, active)
            if not kept:
                break
            if len(kept) < len(rows):
                cache.keep(torch.tensor(kept))
                rows, chosen = [rows[place] for place in kept], chosen[kept]
            ids, start = chosen[:, None], end
        yield Finished(reasons, [self.read(answer) for answer in answers], answers)

    def _choose(self, logits: Tensor, index: int, settings: BaselineSettings, keys: list[int]) -> Tensor:
        """The `index`-th token of sequences with these keys, (rows,) on the CPU, from logits (rows, 1, vocab)."""
        uniforms = None
        if settings.temperature > 0:
            uniforms = token_uniforms([(settings.seed, key, index) for key in keys], 1).to(self.device)
        return choose(logits, uniforms, settings.temperature, settings.top_k, settings.top_p)[:, 0].cpu()

    def generate(self, prompts: Sequence[str], settings: BaselineSettings | None = None,
                 sequences: Sequence[int] | None = None) -> list[str]:  # fmt: skip
        """Continues a batch of prompts and returns the texts, prompts not included. See `sample`."""
        return [text for event in self.sample(prompts, settings, sequences) if isinstance(event, Finished)
                for text in event.texts]  # fmt: skip


def perplexities(likelihoods: Sequence[Likelihood]) -> dict[str, float]:
    """Perplexity per token and per word of texts together: exp(-sum log p / count), long texts weighing more."""
    total = math.fsum(likelihood.total for likelihood in likelihoods)
    tokens, words = sum(len(x.log_probs) for x in likelihoods), sum(x.words for x in likelihoods)
    if not tokens or not words:
        raise BaselineError("found no token in the texts, expected some")
    return {"per_token": perplexity(-total / tokens), "per_word": perplexity(-total / words)}


def perplexity(nats: float) -> float:
    """exp(nats), or the largest number of its kind that JSON can hold where it is larger."""
    return math.exp(min(nats, MOST_NATS))


# files


def save_baseline(folder: str | Path, baseline: Baseline, dtype: torch.dtype = torch.float32) -> None:
    """Writes a baseline, whole or not at all, and replaces the one that `folder` may hold; its documents stay.

    Matrices are stored in `dtype`, norms in float32. Raises CheckpointError where a weight is not finite, or where
    `folder` holds anything but a baseline.
    """
    folder, network = Path(folder), baseline.network
    documents = check_baseline_destination(folder)
    norms, state = norm_keys(network), {}
    for key, tensor in network.state_dict().items():
        if not tensor.isfinite().all():
            raise CheckpointError(f"{folder / WEIGHTS}: {key} would hold NaN or infinity, expected finite numbers")
        state[key] = tensor.to("cpu", torch.float32 if key in norms else dtype).contiguous()
    with replaced_folder(folder) as partial:
        write_json(partial / "config.json", {**network.config.to_dict(), "training": baseline.training})
        save_file(state, partial / WEIGHTS, metadata={"format": "pt"})
        baseline.tokenizer.save(str(partial / "tokenizer.json"))
        for document in documents:
            shutil.copy2(document, partial)


def check_baseline_destination(folder: Path) -> list[Path]:
    """See `check_destination`."""
    return check_destination(folder, PARTS, "a baseline")


def _load(folder: Path, config: TransformerConfig, device: torch.device, dtype: torch.dtype) -> Transformer:
    """The network with its weights on `device`, matrices in `dtype`, norms in float32."""
    files = weight_files(folder)
    stored = stored_tensors(files)
    with without_weights():
        network = Transformer(config)
    wanted = {key: tuple(tensor.shape) for key, tensor in network.state_dict().items()}
    for key in wanted.keys() | stored.keys():
        if key not in stored:
            raise CheckpointError(f"{files[0]}: {key} is missing, expected shape {wanted[key]}")
        if key not in wanted:
            raise CheckpointError(f"{stored[key].file}: {key} belongs to no layer of this config, expected none")
        if stored[key].shape != wanted[key]:
            found = stored[key].shape
            raise CheckpointError(f"{stored[key].file}: {key} has shape {found}, expected {wanted[key]}")
    norms, buffer = norm_keys(network), read_buffer()
    state = {key: stored[key].load(device, torch.float32 if key in norms else dtype, buffer) for key in wanted}
    network.load_state_dict(state, assign=True)
    return network.requires_grad_(False)
