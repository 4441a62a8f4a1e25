"""A text as a Cola-DLM's networks see it, and blocks of it that stand there with other latents or other tokens.

The clean text passes once and leaves its keys and values; blocks are then noised, encoded or decoded after what stands
before them.
"""

from __future__ import annotations

import dataclasses

import torch
import torch.nn.functional as F
from torch import Tensor

from ..model import ColaDLM
from ..networks.layers import Attend, attention, block_causal_mask
from ..sampling.flow import NOISE_TIME


@dataclasses.dataclass(frozen=True)
class Units:
    """The units of a text, each what the flow writes in one go (a block or a token), in the block that it is part of.

    block: (units,), the number of that block in the text. ids: (units, b), its tokens. written: (units, b), where the
    unit stands. given: (units, b), where the text before it stands; what is neither is noise. latents: (units, b, d).
    """

    block: Tensor
    ids: Tensor
    written: Tensor
    given: Tensor
    latents: Tensor

    def __len__(self) -> int:
        return len(self.block)

    def part(self, rows: slice) -> Units:
        return Units(*(getattr(self, field.name)[rows] for field in dataclasses.fields(self)))


class CleanText:
    """Keys and values that a network leaves of a text, for blocks that stand at some place of it instead of what is
    there. keep: as `attend` while the text passes, which sees itself block-causally.
    """

    def __init__(self, n: int, block_size: int, device: torch.device) -> None:
        self.block_size, self.n = block_size, n
        self.mask = block_causal_mask(n, block_size, device)
        self.kept: list[tuple[Tensor, Tensor]] = []

    def keep(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        self.kept.append((k, v))
        return attention(q, k, v, self.mask)

    def before(self, block: Tensor, seen: bool = True) -> Attend:
        """Attention of blocks (rows, units * b) that see themselves and, with `seen`, the text before them.

        block: (units,), the number of each.
        """
        count, b = len(block), self.block_size
        visible = int(block.max()) * b if seen else 0
        unit = torch.arange(count, device=block.device).repeat_interleave(b)
        own = unit[:, None] == unit
        past = torch.arange(visible, device=block.device) // b < block.repeat_interleave(b)[:, None]
        mask = torch.cat((past, own), 1)

        def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            past_k, past_v = (x[:, :visible].expand(len(q), -1, -1, -1) for x in self.kept[layer])
            return attention(q, torch.cat((past_k, k), 1), torch.cat((past_v, v), 1), mask)

        return attend


class TextFlow:
    """A text under a model: what the DiT and the decoder make of blocks that stand in it. ids: (n,), whole blocks."""

    def __init__(self, model: ColaDLM, ids: Tensor) -> None:
        self.model, self.vae, self.dit = model, model.vae, model.dit
        self.b, n, device = model.block_size, len(ids), model.device
        ids = ids.to(device)
        self.texts, self.flows, self.words = (CleanText(n, self.b, device) for _ in range(3))
        positions = torch.arange(n, device=device)
        text_rope = self.vae.rope(positions)
        self.latents = self.vae.scale(self.vae.encode(ids[None], text_rope, self.texts.keep).mean)[0]
        self.clean = self.dit.modulations(torch.zeros(1, device=device)).at(0)
        self.dit.hidden(self.latents[None], self.clean, self.dit.rope(positions), self.flows.keep)
        self.vae.decode_hidden(self.latents[None], text_rope, self.words.keep)

    def _positions(self, block: Tensor) -> Tensor:
        return (block[:, None] * self.b + torch.arange(self.b, device=block.device)).flatten()

    def encoded(self, block: Tensor, ids: Tensor) -> Tensor:
        """Scaled posterior means (units, b, d) of blocks with other tokens (units, b) after the text before them."""
        rope = self.vae.rope(self._positions(block))
        mean = self.vae.encode(ids.view(1, -1), rope, self.texts.before(block)).mean
        return self.vae.scale(mean).view(*ids.shape, -1)

    def velocity(self, block: Tensor, z: Tensor, t: Tensor, guidance: float = 1.0) -> Tensor:
        """(rows, units, b, d), of states z of that shape at times t (rows, units, b) in [0, 1]."""
        flat, (times, index) = z.flatten(1, 2), torch.unique(t.flatten(1), return_inverse=True)
        modulations = self.dit.modulations(NOISE_TIME * times).at(index)
        rope = self.dit.rope(self._positions(block))
        found = []
        for seen in (True,) if guidance == 1 else (True, False):
            hidden = self.dit.hidden(flat, modulations, rope, self.flows.before(block, seen))
            found.append(self.dit.output(hidden, modulations, flat).view(z.shape))
        if guidance == 1:
            return found[0]
        with_text, alone = found
        guided = (block > 0)[:, None, None]  # a first block has nothing to be guided by
        return torch.where(guided, alone + guidance * (with_text - alone), with_text)

    def decoded(self, block: Tensor, z: Tensor) -> Tensor:
        """The decoder's hidden states (rows, units * b, width) of latents z (rows, units, b, d)."""
        rope = self.vae.rope(self._positions(block))
        return self.vae.decode_hidden(z.flatten(1, 2), rope, self.words.before(block))

    def log_probs(self, block: Tensor, z: Tensor, ids: Tensor) -> Tensor:
        """log p (rows, units, b) of tokens (units, b) by the decoder, from latents z (rows, units, b, d)."""
        hidden = self.decoded(block, z)
        rows = [-F.cross_entropy(self.vae.decoder.logits(h[None])[0], ids.flatten(), reduction="none") for h in hidden]
        return torch.stack(rows).view(z.shape[:3])


def units_of(model: ColaDLM, before: list[int], ids: list[int], order: str) -> tuple[TextFlow, Units]:
    """The text as the networks see it, and its units."""
    b, first, end, device = model.block_size, len(before), len(before) + len(ids), model.device
    padded = torch.full((-(-end // b) * b,), model.pad_id)
    padded[:end] = torch.tensor([*before, *ids])
    flow, blocks = TextFlow(model, padded), padded.view(-1, b).to(device)
    place = torch.arange(len(padded), device=device).view(-1, b)
    starts = list(range(first, end))
    if order == "blocks":
        starts = [start for start in starts if start == first or start % b == 0]
    stops = [*starts[1:], end]
    block = torch.tensor([start // b for start in starts], device=device)
    start, stop = (torch.tensor(x, device=device)[:, None] for x in (starts, stops))
    own, pad = place[block], torch.full((), model.pad_id, device=device)
    given, written = own < start, (own >= start) & (own < stop)
    # what stands before a unit in its block is known by its own tokens alone, as the end of a prompt is
    known = flow.encoded(block, torch.where(given, blocks[block], pad))
    latents = flow.encoded(block, torch.where(own < stop, blocks[block], pad))
    latents = torch.where(given[..., None], known, latents)
    return flow, Units(block, blocks[block], written, given, latents)
