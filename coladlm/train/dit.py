"""The objective of the DiT: conditional flow matching, a clean and noisy copies of every row (arXiv:2605.06548, 2).

    || v(z_t, t; z_0 of earlier blocks) - (z_1 - z_0) ||^2,  z_t = (1 - t) z_0 + t z_1,  one time a block

The clean copy stands at t = 0 and sees itself block-causally; a noisy block sees the clean blocks before it and
itself, which is what the sampler's cache shows it. So the clean copy runs first and leaves its keys and values, and
the noisy copy attends to them and to its own. The text VAE is frozen and gives z_0.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..networks.config import DiTConfig
from ..networks.dit import BlockCausalDiT, Modulations
from ..networks.layers import attention, block_causal_mask
from ..networks.text_vae import TextVAE
from ..networks.token_output import MORE_COEFFICIENTS
from .attention import attention_in_parts
from .compiled import Hidden, compiled_layers, disagreement
from .dit_objective import DiTObjective
from .dit_validation import measured
from .exact_denoiser import ExactDenoiser
from .loop import Stage
from .noising import WIDE, Noised, noised_rows

QUERIES = 64  # that attend together on a CPU
MOST_DISAGREEMENT = 0.05  # relative, of compiled and eager gradients: bfloat16 products give 0.02


class Predicted(NamedTuple):
    """What the networks make of a batch."""

    hidden: Tensor  # (C B, n, dim), last hidden state of the noisy copies
    modulations: Modulations  # at their times
    clean: Tensor  # (B, n, dim), that of the clean copy


class DiTStage(Stage):
    """The DiT, the frozen VAE, and two token heads that help in training and are not exported."""

    def __init__(self, config: DiTConfig, vae: TextVAE, pad: int, objective: DiTObjective | None = None,
                 teacher: ExactDenoiser | None = None):  # fmt: skip
        super().__init__()
        self.dit = BlockCausalDiT(config)
        self.vae = vae.requires_grad_(False)
        self.pad, self.objective, self.teacher = pad, objective or DiTObjective(), teacher
        vocab_size = vae.config.vocab_size
        # an output layer that names tokens is a token head itself
        has_head = self.objective.head_weight > 0 and not config.token_output
        self.head = nn.Linear(config.txt_dim, vocab_size) if has_head else None
        self.next_head = nn.Linear(config.txt_dim, vocab_size) if self.objective.next_weight > 0 else None
        self.leaves_out = self.next_head is not None  # it reads nothing where no token of a batch is hidden
        self.layers: Hidden | None = None  # compiled; those of the DiT if None
        start_from_zero(self.dit)

    def compile_layers(self, ids: Tensor, generator: torch.Generator, backend: str = "inductor") -> float:
        """Compiles the layers of the DiT where their gradients on ids (B, n) are within `MOST_DISAGREEMENT` of the
        eager ones; else they stay eager. Returns the largest relative distance of a parameter's gradient. Raises what
        the compiler raises; the layers are eager then.
        """
        layers, losses = compiled_layers(self.dit, backend), []
        noised = self.noise(self.latents(ids), generator)
        kept = {name: value.clone() for name, value in self.dit.state_dict().items()}
        with torch.no_grad():  # a DiT that starts from zero has no gradient to compare
            for parameter in self.dit.parameters():
                noise = torch.randn(parameter.shape, generator=generator, device=parameter.device)
                parameter.add_(0.02 * noise)
        try:
            for tried in (None, layers):
                self.layers = tried
                predicted = self.predict(noised)
                error = (self.velocity(predicted, noised) - noised.velocity).square().mean()
                losses.append(error + 1e-3 * (predicted.hidden.square().mean() + predicted.clean.square().mean()))
            found = disagreement(list(self.dit.parameters()), *losses)
        finally:
            self.layers = None
            self.dit.load_state_dict(kept)
        if found <= MOST_DISAGREEMENT:
            self.layers = layers
        return found

    def forward(self, ids: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """ids (B, n) -> the loss and its parts."""
        o, noised = self.objective, self.noise(self.latents(ids), generator)
        predicted = self.predict(noised)
        read = None if self.teacher is None else self.teacher.read(ids)
        rows, ids = ids, ids.repeat(o.copies, 1)
        free = (noised.free & self.within_story(ids, noised.sizes)).float()
        parts = {}
        if not self.dit.config.token_output:
            wanted = noised.velocity if read is None else self.taught_velocity(noised, rows, read)
            error = (self.velocity(predicted, noised) - wanted).square().mean(-1)
            parts["loss"] = parts["flow"] = (error * free).sum() / free.sum()
        if self.names_tokens:
            count = max(1, int(o.head_share * ids.numel()))
            some = torch.randperm(ids.numel(), generator=generator, device=ids.device)[:count]
            logits = self.token_logits(predicted, noised, some)
            entropy = F.cross_entropy(logits, ids.flatten()[some], reduction="none")
            if read is not None:
                there = self.exact(noised, rows).flatten()[some].nonzero()[:, 0]
                posterior, _ = self.teach(noised, read, some[there])
                softly = -(posterior.exp() * logits[there].log_softmax(-1)).sum(-1)
                entropy = entropy.index_copy(0, there, torch.lerp(entropy[there], softly, o.taught))
            weight = free.flatten()[some]
            parts["head"] = (entropy * weight).sum() / weight.sum().clamp(min=1)
            parts["loss"] = parts["flow"] + o.head_weight * parts["head"] if "flow" in parts else parts["head"]
        if self.next_head is not None:
            parts["next"] = self.next_token_loss(predicted.clean, rows, noised.sizes, generator, read)
            parts["loss"] = parts["loss"] + o.next_weight * parts["next"]
        return parts

    def within_story(self, ids: Tensor, sizes: Tensor | None = None) -> Tensor:
        """(C B, n), true to the end of the block after the one in which a story ends: padding beyond teaches nothing.

        ids (C B, n); sizes (B,) as in `Noised`. Blocks count as the network's own where they are smaller.
        """
        own = self.dit.config.block_size
        b = own if sizes is None else sizes.clamp(min=own).repeat(len(ids) // len(sizes))[:, None]
        tokens = (ids != self.pad).sum(1, keepdim=True)
        return torch.arange(ids.shape[1], device=ids.device) < (tokens + b - 1) // b * b + b

    def next_token_loss(self, clean: Tensor, ids: Tensor, sizes: Tensor | None, generator: torch.Generator,
                        read: Tensor | None = None) -> Tensor:  # fmt: skip
        """Mean cross-entropy of the token after a position, from the clean copy's last hidden state (B, n, dim).

        It applies where that token is hidden from the position and is no padding: at the ends of blocks, which in rows
        of single positions is everywhere. A share of those places is drawn and read. read: what the teacher has read of
        these rows, where there is one.
        """
        after = ids[:, 1:]
        b = self.dit.config.block_size if sizes is None else sizes[:, None]
        hidden_from = torch.arange(1, ids.shape[1], device=ids.device)[None] % b == 0
        places = (hidden_from & (after != self.pad)).flatten().nonzero()[:, 0]
        count = math.ceil(self.objective.next_share * len(places))
        if count == 0:
            return clean.sum() * 0.0
        some = places[torch.randperm(len(places), generator=generator, device=ids.device)[:count]]
        logits = self.next_logits(clean[:, :-1].flatten(0, 1)[some])
        entropy = F.cross_entropy(logits, after.flatten()[some])
        if read is None or self.teacher is None:
            return entropy
        known = self.teacher.next_token(read[:, 1:].flatten(0, 1)[some])
        softly = -(known.exp() * logits.log_softmax(-1)).sum(-1).mean()
        return torch.lerp(entropy, softly, self.objective.taught)

    @torch.no_grad()
    def teach(self, noised: Noised, read: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
        """What the exact denoiser says at these places (m,) of the noisy copies, all in one line, of rows of which the
        teacher has read `read` (B, n, dim): log p of each token (m, V), and clean estimates (m, d).
        """
        teacher = self.teacher
        if teacher is None:
            raise RuntimeError("no exact denoiser teaches this stage, expected one")
        n = read.shape[1]
        prior = teacher.next_token(read.flatten(0, 1)[places % (len(read) * n)])  # the copies have the same text
        prior[~noised.history[places // n]] = teacher.unknown
        t = noised.times[noised.index.flatten()[places]][:, None]
        return teacher.guess(noised.noisy.flatten(0, 1)[places], t, prior)

    @torch.no_grad()
    def taught_velocity(self, noised: Noised, ids: Tensor, read: Tensor) -> Tensor:
        """What is to be predicted, (C B, n, d), with a share of the exact denoiser where it sees what the DiT sees."""
        places = self.exact(noised, ids).flatten().nonzero()[:, 0]
        _, clean = self.teach(noised, read, places)
        state, t = noised.noisy.flatten(0, 1)[places], noised.times[noised.index.flatten()[places]][:, None]
        velocity = noised.velocity.flatten(0, 1)
        mixed = torch.lerp(velocity[places], (state - clean) / t, self.objective.taught)
        return velocity.index_copy(0, places, mixed).view_as(noised.velocity)

    def exact(self, noised: Noised, ids: Tensor) -> Tensor:
        """(C B, n), true where a token counts whose block is finished before it and noise after it, or whose block it
        is alone, and that is no padding. Without the history it must also be the first of its block. Rows of wide
        blocks have no such place.
        """
        index = noised.index.unflatten(1, (-1, self.dit.config.block_size))
        finished, waiting = (index == 0).int(), (index == len(noised.times) - 1).int()
        before = finished.cumprod(-1).roll(1, -1)
        before[..., 0] = 1
        after = waiting.flip(-1).cumprod(-1).roll(1, -1)
        after[..., 0] = 1
        in_line = before.bool() & after.flip(-1).bool()
        in_line[~noised.history, :, 1:] = False
        in_line = in_line.flatten(1)
        if noised.sizes is not None:
            sizes = noised.sizes.repeat(self.objective.copies)[:, None]
            in_line = (in_line & (sizes <= self.dit.config.block_size)) | (sizes == 1)
        return in_line & noised.free & (ids != self.pad).repeat(self.objective.copies, 1)

    @torch.no_grad()
    def latents(self, ids: Tensor) -> Tensor:
        """Posterior means as the DiT knows them, (B, n, d)."""
        return self.vae.scale(self.vae.encode(ids).mean)

    def noise(self, z: Tensor, generator: torch.Generator) -> Noised:
        """Draws what the DiT is to denoise for latents z (B, n, d), see `noising.py`."""
        return noised_rows(z, self.objective, self.dit.config.block_size, generator)

    def predict(self, noised: Noised) -> Predicted:
        """Runs the clean copy, then the noisy copies, which see it."""
        dit, n, device = self.dit, noised.clean.shape[1], noised.clean.device
        table = dit.modulations(1000 * noised.times)
        rope = dit.rope(torch.arange(n, device=device))
        copies = len(noised.noisy) // len(noised.clean)
        widest = dit.config.block_size
        if noised.sizes is None:
            causal = block_causal_mask(n, widest, device)[None]  # (1 or B, n, n)
        else:
            block = torch.arange(n, device=device) // noised.sizes[:, None]
            causal = block[:, None, :] <= block[:, :, None]
            widest *= max(WIDE) if self.objective.wide_rows > 0 else 1
        each = causal if len(causal) == 1 else causal.repeat(copies, 1, 1)
        own = each & each.mT  # (1 or C B, n, n)
        before = each & ~own & noised.history[:, None, None]  # (C B, n, n)
        parts = _query_parts(n, widest, device)
        see_clean = [causal[:, None, part, : part.stop] for part in parts]
        own = own.expand_as(before)
        see_both = [torch.cat((before[:, part, : part.stop], own[:, part, part]), -1)[:, None] for part in parts]
        in_parts = device.type == "cpu"
        hidden_clean, hidden_both = [~mask for mask in see_clean], [~mask for mask in see_both]
        keys, values = [], []

        def leave(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            keys.append(k)
            values.append(v)
            if in_parts:
                return attention_in_parts(q, k, v, None, hidden_clean, parts)
            return attention(q, k, v, see_clean[0])

        def see(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            past_k, past_v = (past if copies == 1 else past.repeat(copies, 1, 1, 1)
                              for past in (keys[layer], values[layer]))  # fmt: skip
            if in_parts:
                return attention_in_parts(q, k, v, (past_k, past_v), hidden_both, parts)
            return attention(q, torch.cat((past_k, k), 1), torch.cat((past_v, v), 1), see_both[0])

        layers = self.layers or dit.hidden
        clean = layers(noised.clean, table.at(0), rope, leave)
        modulations = _looked_up(table, noised.index)
        hidden = layers(noised.noisy, modulations, rope, see)
        return Predicted(hidden, modulations, clean)

    def velocity(self, predicted: Predicted, noised: Noised) -> Tensor:
        """Of the noisy copies, (C B, n, d), float32."""
        return self.dit.output(predicted.hidden, predicted.modulations, noised.noisy)

    @property
    def names_tokens(self) -> bool:
        """Does the token head, or the output layer, give logits of tokens?"""
        return self.head is not None or self.dit.config.token_output > 0

    def token_logits(self, predicted: Predicted, noised: Noised, places: Tensor) -> Tensor:
        """Logits (m, vocab_size), float32, of the token at these places (m,) of the noisy copies, all in one line: by
        the token head, or by an output layer that names tokens.
        """
        hidden = predicted.hidden.flatten(0, 1)[places]
        if self.head is not None:
            return self.head(F.layer_norm(hidden, hidden.shape[-1:])).float()
        if not self.dit.config.token_output:
            raise RuntimeError("this stage has no token head, expected a head_weight above 0")
        shift, scale, c = (part.flatten(0, 1)[places] for part in predicted.modulations.output.unbind(-2))
        z = noised.noisy.flatten(0, 1)[places]
        h = torch.addcmul(shift, self.dit.txt_out_norm(hidden), scale)
        tokens = self.dit.tokens
        return tokens.with_state(tokens.logits(h), z, c[:, : z.shape[1] + MORE_COEFFICIENTS])

    def next_logits(self, hidden: Tensor) -> Tensor:
        """The next-token head on hidden states of the clean copy (..., dim) -> (..., vocab_size), float32."""
        if self.next_head is None:
            raise RuntimeError("this stage has no next-token head, expected a weight for it above 0")
        return self.next_head(F.layer_norm(hidden, hidden.shape[-1:])).float()

    @torch.no_grad()
    def validate(self, batches: list[Tensor], generator: torch.Generator) -> dict[str, float]:
        """The numbers of held-out batches, see `dit_validation.py`."""
        return measured(self, batches, generator)


def start_from_zero(dit: BlockCausalDiT) -> None:
    """AdaLN, the output layer and embeddings of tokens start at zero: blocks are the identity, the velocity is 0."""
    for name, layer in dit.named_modules():
        if isinstance(layer, nn.Linear) and (name.startswith(("txt_out", "txt_in.tokens")) or ".ada." in name):
            nn.init.zeros_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def _query_parts(n: int, block_size: int, device: torch.device) -> list[slice]:
    """Whole blocks of queries that attend together: on a CPU some 64, since what no query of a part may see is skipped
    (half of the work); elsewhere all at once, one dense product.
    """
    size = n if device.type != "cpu" else max(block_size, QUERIES // block_size * block_size)
    return [slice(start, min(start + size, n)) for start in range(0, n, size)]


def _looked_up(table: Modulations, index: Tensor) -> Modulations:
    """Modulations at each position. F.embedding, since its gradient is a cheap sum where that of indexing is not."""

    def rows(values: Tensor) -> Tensor:
        return F.embedding(index, values.flatten(1)).unflatten(-1, values.shape[1:])

    return Modulations([rows(layer) for layer in table.layers], rows(table.output))
