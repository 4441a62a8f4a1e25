"""A judge: any causal language model that the library Transformers reads, for how likely a text is.

It has seen nothing of the model that it judges, where the baseline has the same training text and knows its own texts
best. Transformers is an extra of the package (`pip install coladlm[judge]`). Weights come from safetensors or GGUF
files on this machine alone, and no code of a checkpoint is run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..baseline.baseline import Likelihood
from .stories import EvaluationError

Network = Callable[[Tensor], Tensor]  # ids (B, n) -> logits of the next token (B, n, vocabulary)
Encode = Callable[[str], tuple[list[int], list[int]]]  # text -> token ids, and where in the text each token ends


class Judge:
    """A causal language model ready to read."""

    def __init__(self, network: Network, encode: Encode, start_id: int, longest: int, name: str = "",
                 parameters: int = 0):  # fmt: skip
        """start_id: the token that stands before every text. longest: how many tokens the network reads at once."""
        self.network, self.encode, self.start_id, self.longest = network, encode, start_id, longest
        self.name, self.parameters = name, parameters

    @classmethod
    def from_pretrained(cls, path: str | Path, device: str | torch.device = "cpu") -> Judge:
        """Loads a folder in the form of Transformers, or a GGUF file. Raises EvaluationError."""
        path = Path(path).expanduser()
        if not path.is_dir() and not (path.is_file() and path.suffix == ".gguf"):
            raise EvaluationError(f"judge: {path} is neither a folder nor a .gguf file")
        try:
            from transformers import AutoModelForCausalLM, AutoTokenizer
        except ImportError as error:
            raise EvaluationError(f"a judge needs the extra `judge` (pip install coladlm[judge]): {error}") from error
        folder, what = (path, {}) if path.is_dir() else (path.parent, {"gguf_file": path.name})
        safe: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False, **what}
        try:
            tokenizer = AutoTokenizer.from_pretrained(folder, **safe)
            weights = {} if what else {"use_safetensors": True}
            network = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, **safe, **weights)
        except (OSError, ValueError, ImportError) as error:
            raise EvaluationError(f"judge: {path} could not be read: {error}") from error
        network = network.eval().requires_grad_(False).to(device)
        start = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
        if start is None or not tokenizer.is_fast:
            raise EvaluationError(f"judge: {path} has a tokenizer without a token that begins or ends a text, or "
                                  "without offsets, expected both")  # fmt: skip

        def encode(text: str) -> tuple[list[int], list[int]]:
            found = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
            return found["input_ids"], [end for _, end in found["offset_mapping"]]

        return cls(
            lambda ids: network(input_ids=ids.to(device), use_cache=False).logits,
            encode,
            start,
            int(getattr(network.config, "max_position_embeddings", 1024)),
            path.name,
            sum(p.numel() for p in network.parameters()),
        )

    @torch.inference_mode()
    def log_likelihood(self, texts: Sequence[str], prompts: Sequence[str] | None = None,
                       batch_tokens: int = 1024) -> list[Likelihood]:  # fmt: skip
        """log p(text | prompt) for each text, token by token; prompt and text are tokenised as one.

        A token that reaches over the border counts for the text. batch_tokens: about how many tokens pass at once.
        Raises EvaluationError where prompt and text are longer than the network knows.
        """
        prompts = [""] * len(texts) if prompts is None else prompts
        rows = [self._row(prompt, text) for prompt, text in zip(prompts, texts, strict=True)]
        found: list[tuple[float, ...]] = [()] * len(rows)
        order = sorted(range(len(rows)), key=lambda i: len(rows[i][0]))
        while order:
            longest = len(rows[order[-1]][0])
            some, order = order[-max(1, batch_tokens // longest) :], order[: -max(1, batch_tokens // longest)]
            ids = torch.full((len(some), longest), self.start_id)  # what follows a text is never looked at
            for place, i in enumerate(some):
                ids[place, : len(rows[i][0])] = torch.tensor(rows[i][0])
            logits = self.network(ids[:, :-1])
            for place, i in enumerate(some):
                whole, count = rows[i]
                part = slice(len(whole) - 1 - count, len(whole) - 1)
                target = ids[place, 1:][part].to(logits.device)
                values = -F.cross_entropy(logits[place, part].float(), target, reduction="none")
                found[i] = tuple(values.tolist())
        return [Likelihood(values, len(text.split())) for values, text in zip(found, texts, strict=True)]

    def _row(self, prompt: str, text: str) -> tuple[list[int], int]:
        """The ids of prompt and text behind the start token, and how many of them count for the text."""
        ids, ends = self.encode(prompt + text)
        if len(ids) + 1 > self.longest:
            raise EvaluationError(f"a text with its prompt has {len(ids)} tokens, expected less than {self.longest}")
        return [self.start_id, *ids], sum(end > len(prompt) for end in ends)
