"""Text in, batches of token ids out: the tokenizer, the tokenised corpus as one uint16 file, rows and their order.

A corpus file is the stories one after another, each followed by the end token, so that a story's borders can be read
off the file itself. A row starts where a story starts; what follows the end token is padding. Rows of like length
share a batch, which keeps padding short. Knows nothing of networks.
"""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from ..tokenizer import text_alone

END, IM_END, PAD = "<|endoftext|>", "<|im_end|>", "<|pad|>"


class CorpusError(ValueError):
    """The training text or a file made from it is not what it should be."""


# text and tokenizer


def read_stories(file: Path) -> list[str]:
    """The `text` of every line of a JSON-lines file. Raises CorpusError."""
    if not file.is_file():
        raise CorpusError(f"{file}: no such file; expected JSON lines with a key `text`")
    stories = []
    with open(file, "rb") as lines:  # whose lines end at a line feed alone: U+2028 and its like stay in their text
        for number, line in enumerate(lines, 1):
            try:
                stories.append(_story(line.decode("utf-8-sig" if number == 1 else "utf-8")))
            except UnicodeError as error:
                raise CorpusError(f"{file}, line {number}: found what is not Unicode, expected UTF-8") from error
            except (json.JSONDecodeError, KeyError, TypeError, RecursionError) as error:
                wanted = "a JSON object with a text under the key `text`"
                raise CorpusError(f"{file}, line {number}: expected {wanted}") from error
    if not stories:
        raise CorpusError(f"{file}: found no line, expected JSON lines with a key `text`")
    return stories


def _story(line: str) -> str:
    """The `text` of one line. Raises UnicodeEncodeError for half a character, KeyError, TypeError, ValueError."""
    text = json.loads(line)["text"]
    if not isinstance(text, str):
        raise TypeError(f"text is {type(text).__name__}")
    text.encode()
    return text


def train_tokenizer(stories: list[str], vocab_size: int = 4096) -> Tokenizer:
    """A byte-level BPE that writes every text; the three special tokens are its first entries."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[END, IM_END, PAD],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(stories, trainer)
    return text_alone(tokenizer)


def special_id(tokenizer: Tokenizer, content: str) -> int:
    """The id of a special token, found by its content. Raises CorpusError."""
    found = tokenizer.token_to_id(content)
    if found is None:
        raise CorpusError(f"tokenizer.json: found no token {content}")
    return found


def write_tokens(file: Path, stories: list[str], tokenizer: Tokenizer) -> None:
    """Writes the corpus file: token ids as little-endian uint16, the end token after every story."""
    if tokenizer.get_vocab_size() > 1 << 16:
        raise CorpusError(f"tokenizer.json: found {tokenizer.get_vocab_size()} tokens, expected at most 65536")
    end = special_id(tokenizer, END)
    ids = [np.array([*encoding.ids, end], dtype="<u2") for encoding in tokenizer.encode_batch(stories)]
    partial = file.with_suffix(".partial")
    np.concatenate(ids).tofile(partial)
    os.replace(partial, file)


# rows


@dataclasses.dataclass(frozen=True)
class Rows:
    """How stories become rows: lengths are multiples of `bucket`, from there to `longest` tokens."""

    longest: int = 256
    bucket: int = 32

    def length(self, tokens: int) -> int:
        """The row length for a story of so many tokens (its end token counted); a longer story is cut."""
        return min(self.longest, -(-tokens // self.bucket) * self.bucket)


class Corpus:
    """The stories of a corpus file, and batches of them in an order that only (seed, step) decides."""

    def __init__(self, file: Path, tokenizer: Tokenizer, rows: Rows):
        if not file.is_file() or file.stat().st_size == 0 or file.stat().st_size % 2:
            raise CorpusError(f"{file}: expected a file of uint16 token ids; the stage `tokenizer` writes it")
        self.ids = np.fromfile(file, dtype="<u2")
        self.end, self.pad = special_id(tokenizer, END), special_id(tokenizer, PAD)
        ends = np.flatnonzero(self.ids == self.end) + 1
        if len(ends) == 0 or ends[-1] != len(self.ids):
            raise CorpusError(f"{file}: the last id is not the end token {self.end} of this tokenizer")
        self.starts, self.ends, self.rows = np.concatenate(([0], ends[:-1])), ends, rows
        self._epochs: dict[tuple[int, int, int], list[np.ndarray]] = {}

    def __len__(self) -> int:
        return len(self.starts)

    def row(self, story: int, length: int) -> np.ndarray:
        """(length,) ids of a story from its start: cut, or its end token and then padding."""
        ids = self.ids[self.starts[story] : min(self.ends[story], self.starts[story] + length)]
        return np.concatenate((ids, np.full(length - len(ids), self.pad, dtype=ids.dtype)))

    def batch(self, step: int, tokens: int, seed: int) -> torch.Tensor:
        """(rows, n) int64, about `tokens` ids in all. Every story comes once an epoch, in another order each time."""
        count = len(self._epoch(seed, 0, tokens))
        epoch = self._epoch(seed, step // count, tokens)
        return self.gather(epoch[step % count])

    def batches_per_epoch(self, tokens: int) -> int:
        return len(self._epoch(0, 0, tokens))

    def gather(self, stories: np.ndarray) -> torch.Tensor:
        """(len(stories), n) int64, n long enough for the longest of them."""
        length = max(self.rows.length(self.ends[s] - self.starts[s]) for s in stories)
        return torch.from_numpy(np.stack([self.row(s, length) for s in stories]).astype(np.int64))

    def _epoch(self, seed: int, epoch: int, tokens: int) -> list[np.ndarray]:
        key = (seed, epoch, tokens)
        if key not in self._epochs:
            self._epochs = {k: v for k, v in self._epochs.items() if k[1] == 0}  # keeps epoch 0 for its length
            random = np.random.default_rng((seed, epoch))
            order = random.permutation(len(self))
            lengths = np.array([self.rows.length(n) for n in (self.ends - self.starts)[order]])
            batches = []
            for length in np.unique(lengths):
                alike, rows = order[lengths == length], max(1, tokens // int(length))
                batches += [alike[i : i + rows] for i in range(0, len(alike), rows)]
            self._epochs[key] = [batches[i] for i in random.permutation(len(batches))]
        return self._epochs[key]
