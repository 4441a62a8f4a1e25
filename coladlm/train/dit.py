"""The objective of the DiT: conditional flow matching, a clean and noisy copies of every row (arXiv:2605.06548, 2).

    || v(z_t, t; z_0 of earlier blocks) - (z_1 - z_0) ||^2,  z_t = (1 - t) z_0 + t z_1,  one time a block

The clean copy stands at t = 0 and sees itself block-causally; a noisy block sees the clean blocks before it and
itself, which is what the sampler's cache shows it. So the clean copy runs first and leaves its keys and values, and
the noisy copy attends to them and to its own. The text VAE is frozen and gives z_0.
"""

from __future__ import annotations

import dataclasses
import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..networks.config import DiTConfig
from ..networks.dit import BlockCausalDiT, Modulations
from ..networks.layers import attention, block_causal_mask
from ..networks.text_vae import TextVAE
from .attention import attention_in_parts
from .compiled import Hidden, compiled_layers, disagreement
from .exact_denoiser import ExactDenoiser
from .loop import Stage

TIME_BINS = (0.1, 0.3, 0.5, 0.7, 0.9)  # at which validation looks
BIN_HALF_WIDTH = 0.1
QUERIES = 64  # that attend together on a CPU
WIDE = (2, 4)  # times the network's own block size: other sizes that rows may have
WIDE_LAG = 0.5  # of the time grid, at most, in those: with a longer one hardly a position of a block is under way
MOST_DISAGREEMENT = 0.05  # relative, of compiled and eager gradients: bfloat16 products give 0.02


def learned_nothing(t: float) -> float:
    """Velocity error per channel of the best guess that knows only z_t, for data of unit variance without structure."""
    return 1.0 / ((1 - t) ** 2 + t**2)


@dataclasses.dataclass(frozen=True)
class DiTObjective:
    time_location: float | None = None  # of the logit-normal times; 1 + 0.5 ln(d / 16) if None
    time_scale: float = 1.0
    times: int = 128  # distinct times in a batch, stratified
    copies: int = 1  # noisy copies of each row, which share its clean one
    history_noise: float = 0.1  # sizes are drawn uniformly from 0 to this for each row
    history_dropped: float = 0.1  # share of rows whose noisy blocks see themselves alone
    pinned_blocks: float = 0.125  # share of blocks with clean positions at t = 0
    staggered_blocks: float = 0.75  # share of blocks whose positions follow one another (the sampler's `stagger`)
    stagger_shift: float = 2.0  # of the time grid on which they do
    single_rows: float = 0.0  # share of rows whose blocks are of one position: each is learned after all before it
    wide_rows: float = 0.0  # share of rows whose blocks are of a size in WIDE times the network's own
    head_weight: float = 0.1  # of the cross-entropy of the token head; 0: no head
    head_share: float = 0.5  # share of positions that the head reads
    next_weight: float = 0.0  # of the next-token loss on the clean copy; 0: no head for it
    next_share: float = 0.5  # share of the positions where it applies that are read
    taught: float = 0.8  # share of the exact denoiser in what is to be predicted, where there is one and it is exact

    def __post_init__(self) -> None:
        if not 0 <= self.taught <= 1:
            raise ValueError(f"taught is {self.taught}, expected 0 to 1")
        if self.single_rows + self.wide_rows > 1:
            raise ValueError(f"single_rows is {self.single_rows} and wide_rows is {self.wide_rows}, "
                             "expected shares of at most 1 together")  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Noised:
    """What a batch of rows becomes: the networks' inputs and what is to be predicted. Times are in [0, 1]."""

    clean: Tensor  # (B, n, d), the history
    noisy: Tensor  # (C B, n, d), C noisy copies of all rows, one after another
    velocity: Tensor  # (C B, n, d), the target
    times: Tensor  # (T,), times[0] = 0
    index: Tensor  # (C B, n), the time of each position of the noisy copies
    free: Tensor  # (C B, n), true where the loss counts
    history: Tensor  # (C B,), false where the noisy blocks see themselves alone
    sizes: Tensor | None = None  # (B,), positions of a block in each row; None: everywhere those of the network


class Predicted(NamedTuple):
    """What the networks make of a batch."""

    velocity: Tensor  # (C B, n, d), of the noisy copies
    hidden: Tensor  # (C B, n, dim), their last hidden state
    clean: Tensor  # (B, n, dim), that of the clean copy


class Taught(NamedTuple):
    """What a batch is to be predicted as where an exact denoiser teaches."""

    velocity: Tensor  # (C B, n, d)
    posterior: Tensor  # (m, V), log p of each token at the m positions where it does
    place: Tensor  # (C B, n), which of the m a position is; -1 where it is none


class DiTStage(Stage):
    """The DiT, the frozen VAE, and two token heads that help in training and are not exported."""

    def __init__(self, config: DiTConfig, vae: TextVAE, pad: int, objective: DiTObjective = DiTObjective(),
                 teacher: ExactDenoiser | None = None):  # fmt: skip
        super().__init__()
        self.dit = BlockCausalDiT(config)
        self.vae = vae.requires_grad_(False)
        self.pad, self.objective, self.teacher = pad, objective, teacher
        vocab_size = vae.config.vocab_size
        self.head = nn.Linear(config.txt_dim, vocab_size) if objective.head_weight > 0 else None
        self.next_head = nn.Linear(config.txt_dim, vocab_size) if objective.next_weight > 0 else None
        self.leaves_out = self.next_head is not None  # it reads nothing where no token of a batch is hidden
        self.layers: Hidden | None = None  # compiled; those of the DiT if None
        start_from_zero(self.dit)

    def compile_layers(self, ids: Tensor, generator: torch.Generator, backend: str = "inductor") -> float:
        """Compiles the layers of the DiT where their gradients on ids (B, n) are within `MOST_DISAGREEMENT` of the
        eager ones; else they stay eager. Returns the largest relative distance of a parameter's gradient.
        """
        layers, losses = compiled_layers(self.dit, backend), []
        noised = self.noise(self.latents(ids), generator)
        kept = {name: value.clone() for name, value in self.dit.state_dict().items()}
        with torch.no_grad():  # a DiT that starts from zero has no gradient to compare
            for parameter in self.dit.parameters():
                noise = torch.randn(parameter.shape, generator=generator, device=parameter.device)
                parameter.add_(0.02 * noise)
        for tried in (None, layers):
            self.layers = tried
            velocity, hidden, clean = self.predict(noised)
            error = (velocity - noised.velocity).square().mean()
            losses.append(error + 1e-3 * (hidden.square().mean() + clean.square().mean()))
        found = disagreement(list(self.dit.parameters()), *losses)
        self.dit.load_state_dict(kept)
        self.layers = layers if found <= MOST_DISAGREEMENT else None
        return found

    def forward(self, ids: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """ids (B, n) -> the loss and its parts."""
        o, noised = self.objective, self.noise(self.latents(ids), generator)
        velocity, hidden, clean = self.predict(noised)
        taught = None if self.teacher is None else self.teach(noised, ids)
        rows, ids = ids, ids.repeat(o.copies, 1)
        free = (noised.free & self.within_story(ids, noised.sizes)).float()
        wanted = noised.velocity if taught is None else taught.velocity
        flow = ((velocity - wanted).square().mean(-1) * free).sum() / free.sum()
        parts = {"loss": flow, "flow": flow}
        if self.head is not None:
            count = max(1, int(o.head_share * ids.numel()))
            some = torch.randperm(ids.numel(), generator=generator, device=ids.device)[:count]
            logits = self.token_logits(hidden.flatten(0, 1)[some])
            entropy = F.cross_entropy(logits, ids.flatten()[some], reduction="none")
            if taught is not None:
                known = taught.place.flatten()[some]
                there = known >= 0
                softly = -(taught.posterior[known[there]].exp() * logits[there].log_softmax(-1)).sum(-1)
                entropy = entropy.masked_scatter(there, torch.lerp(entropy[there], softly, o.taught))
            weight = free.flatten()[some]
            parts["head"] = (entropy * weight).sum() / weight.sum().clamp(min=1)
            parts["loss"] = flow + o.head_weight * parts["head"]
        if self.next_head is not None:
            parts["next"] = self.next_token_loss(clean, rows, noised.sizes, generator)
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

    def next_token_loss(self, clean: Tensor, ids: Tensor, sizes: Tensor | None, generator: torch.Generator) -> Tensor:
        """Mean cross-entropy of the token after a position, from the clean copy's last hidden state (B, n, dim).

        It applies where that token is hidden from the position and is no padding: at the ends of blocks, which in rows
        of single positions is everywhere. A share of those places is drawn and read.
        """
        after = ids[:, 1:]
        b = self.dit.config.block_size if sizes is None else sizes[:, None]
        hidden_from = torch.arange(1, ids.shape[1], device=ids.device)[None] % b == 0
        places = (hidden_from & (after != self.pad)).flatten().nonzero()[:, 0]
        count = math.ceil(self.objective.next_share * len(places))
        if count == 0:
            return clean.sum() * 0.0
        some = places[torch.randperm(len(places), generator=generator, device=ids.device)[:count]]
        states = clean[:, :-1].flatten(0, 1)[some]
        return F.cross_entropy(self.next_logits(states), after.flatten()[some])

    @torch.no_grad()
    def teach(self, noised: Noised, ids: Tensor) -> Taught:
        """What is to be predicted, with a share of the exact denoiser wherever it sees what the DiT sees."""
        teacher = self.teacher
        if teacher is None:
            raise RuntimeError("no exact denoiser teaches this stage, expected one")
        exact = self.exact(noised, ids)
        read = teacher.read(ids).repeat(self.objective.copies, 1, 1)
        prior = teacher.next_token(read[exact])  # only where it is needed: a vocabulary for each position
        prior[~noised.history[:, None].expand_as(exact)[exact]] = teacher.unknown
        state, t = noised.noisy[exact], noised.times[noised.index[exact]][:, None]
        posterior, clean = teacher.guess(state, t, prior)
        velocity = noised.velocity.clone()
        velocity[exact] = torch.lerp(velocity[exact], (state - clean) / t, self.objective.taught)
        place = torch.full_like(noised.index, -1)
        place[exact] = torch.arange(len(state), device=place.device)
        return Taught(velocity, posterior, place)

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
        """Draws times, noise, pinned positions and rows without a history for latents z (B, n, d)."""
        o, b, device = self.objective, self.dit.config.block_size, z.device
        size = o.history_noise * torch.rand(len(z), 1, 1, generator=generator, device=device)
        clean = z + size * torch.randn(z.shape, generator=generator, device=device)
        z = z.repeat(o.copies, 1, 1)
        rows, n, d = z.shape
        blocks = n // b

        count = min(o.times, rows * blocks)
        strata = torch.arange(count, device=device) + torch.rand(count, generator=generator, device=device)
        normal = torch.special.ndtri((strata / count).double().clamp(1e-6, 1 - 1e-6)).float()
        location = 1 + 0.5 * math.log(d / 16) if o.time_location is None else o.time_location
        drawn = torch.sigmoid(location + o.time_scale * normal)
        times = torch.cat((normal.new_zeros(1), drawn, normal.new_ones(1)))  # rising
        chosen = 1 + torch.randperm(rows * n, generator=generator, device=device).view(rows, n) % count
        index, in_line = self._staggered(times, chosen.unflatten(1, (blocks, b)), generator)
        kind = torch.rand(len(clean), generator=generator, device=device)
        single = (kind < o.single_rows).repeat(o.copies)[:, None]
        index, in_line = torch.where(single, chosen, index), in_line | single
        pinned = self._pinned(rows, blocks, b, generator, device) & ~single
        sizes = self._sizes(kind, n)
        if sizes is not None:
            each = sizes.repeat(o.copies)[:, None]
            for size in (times_wider * b for times_wider in WIDE if o.wide_rows > 0):
                wide_index, wide_line = self._staggered(times, chosen.unflatten(1, (-1, size)), generator)
                here, wide_pinned = each == size, self._pinned(rows, n // size, size, generator, device)
                index, in_line = torch.where(here, wide_index, index), torch.where(here, wide_line, in_line)
                pinned = torch.where(here, wide_pinned, pinned)

        index = index.masked_fill(pinned, 0)
        free = (index > 0) & in_line
        target = torch.randn(z.shape, generator=generator, device=device)
        t = times[index][..., None]
        history = torch.rand(rows, generator=generator, device=device) >= o.history_dropped
        return Noised(clean, (1 - t) * z + t * target, target - z, times, index, free, history, sizes)

    def _sizes(self, kind: Tensor, n: int) -> Tensor | None:
        """(B,), positions of a block in each row of n, by a uniform draw for each; None where all are the network's.

        Raises ValueError for rows that cannot be divided.
        """
        o, b = self.objective, self.dit.config.block_size
        if o.single_rows == 0 and o.wide_rows == 0:
            return None
        if o.wide_rows > 0 and n % (b * max(WIDE)):
            raise ValueError(f"rows are of {n} tokens, expected a multiple of {b * max(WIDE)}, the widest block")
        sizes = torch.where(kind < o.single_rows, 1, b)
        for i, times_wider in enumerate(WIDE):
            from_here = 1 - o.wide_rows * (1 - i / len(WIDE))
            sizes = torch.where(kind >= from_here, times_wider * b, sizes)
        return sizes

    def _staggered(self, times: Tensor, chosen: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Indices into the rising `times` for each position (rows, n), and where the sampler needs a velocity.

        chosen: (rows, blocks, b), indices of which the first of a block counts. One position of a block has it. In some
        blocks all others have it too; in the rest each is a lag of the time grid behind the one before it, from 0 to
        the whole grid (`WIDE_LAG` in wide blocks), so those before it may be finished and those after it may wait at
        noise. Of the waiting ones the first is learned.
        """
        o, b, device, chosen = self.objective, chosen.shape[-1], times.device, chosen[..., :1]
        everywhere = chosen.expand(-1, -1, b)
        if b == 1 or o.staggered_blocks == 0:
            return everywhere.flatten(1), torch.ones_like(everywhere, dtype=torch.bool).flatten(1)

        def uniform() -> Tensor:
            return torch.rand(chosen.shape, generator=generator, device=device)

        most = WIDE_LAG if b > self.dit.config.block_size else 1.0
        lag, place = most * uniform(), (uniform() * b).long()
        t = times[chosen]
        share = t / (o.stagger_shift - (o.stagger_shift - 1) * t)  # where on the grid, see flow.shifted
        share = share + (torch.arange(b, device=device) - place) * lag
        limited = share.clamp(0, 1)
        t = o.stagger_shift * limited / (1 + (o.stagger_shift - 1) * limited)
        index = torch.bucketize(t, (times[1:] + times[:-1]) / 2)  # the nearest time
        staggered = uniform() < o.staggered_blocks
        needed = ~staggered | (share < 1 + lag)
        return torch.where(staggered, index, everywhere).flatten(1), needed.flatten(1)

    def _pinned(self, rows: int, blocks: int, b: int, generator: torch.Generator, device: torch.device) -> Tensor:
        """(rows, blocks * b): in some blocks a clean start (a prompt's left-over), or any clean subset (an edit)."""
        if b == 1:
            return torch.zeros(rows, blocks, dtype=torch.bool, device=device)

        def uniform(*shape: int) -> Tensor:
            return torch.rand(shape, generator=generator, device=device)

        length = 1 + (uniform(rows, blocks, 1) * (b - 1)).long()  # 1 to b - 1 positions
        places = torch.arange(b, device=device)
        order = uniform(rows, blocks, b).argsort(-1)
        kind = uniform(rows, blocks, 1)
        start, end, subset = places < length, places >= b - length, order < length
        chosen = torch.where(kind < 0.5, start, torch.where(kind < 0.65, end, subset))
        return (chosen & (uniform(rows, blocks, 1) < self.objective.pinned_blocks)).flatten(1)

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
        return Predicted(dit.output(hidden, modulations), hidden, clean)

    def token_logits(self, hidden: Tensor) -> Tensor:
        """The token head on hidden states (..., dim) -> (..., vocab_size), float32."""
        if self.head is None:
            raise RuntimeError("this stage has no token head, expected a head_weight above 0")
        return self.head(F.layer_norm(hidden, hidden.shape[-1:])).float()

    def next_logits(self, hidden: Tensor) -> Tensor:
        """The next-token head on hidden states of the clean copy (..., dim) -> (..., vocab_size), float32."""
        if self.next_head is None:
            raise RuntimeError("this stage has no next-token head, expected a weight for it above 0")
        return self.next_head(F.layer_norm(hidden, hidden.shape[-1:])).float()

    @torch.no_grad()
    def validate(self, batches: list[Tensor], generator: torch.Generator) -> dict[str, float]:
        """Velocity error and the head's cross-entropy on real tokens by time: `flow` and `head` with the history,
        `alone` without, `line` and `line_head` of positions whose block is finished before them and noise after them;
        `next`, the cross-entropy of the token after each block by the next-token head; `wide` as `flow` in the widest
        blocks, where some rows have them.

        Block k of a row stands in the time bin (k + row) mod 5, so that every bin sees every place in a story.
        """
        sums: dict[str, list[float]] = {}

        def count(name: str, values: Tensor) -> None:
            entry = sums.setdefault(name, [0.0, 0.0])
            entry[0], entry[1] = entry[0] + values.sum().item(), entry[1] + values.numel()

        b = self.dit.config.block_size
        for ids in batches:
            z = self.latents(ids)
            rows, n, _ = z.shape
            blocks = torch.arange(n // b, device=z.device) + torch.arange(rows, device=z.device)[:, None]
            bins = (blocks % len(TIME_BINS)).repeat_interleave(b, 1)
            spread = BIN_HALF_WIDTH * (2 * torch.rand(16, generator=generator, device=z.device) - 1)
            times = (torch.tensor(TIME_BINS, device=z.device)[:, None] + spread).flatten()
            which = torch.randint(16, (rows, n // b), generator=generator, device=z.device).repeat_interleave(b, 1)
            index = 1 + bins * 16 + which
            times = torch.cat((times.new_zeros(1), times, times.new_ones(1)))
            target = torch.randn(z.shape, generator=generator, device=z.device)
            free = ids != self.pad
            # (what it is called, are the blocks before it seen, the time of each position, where it counts)
            places = (blocks // len(TIME_BINS)).repeat_interleave(b, 1) % b
            behind = torch.arange(n, device=z.device) % b - places
            in_line = index.masked_fill(behind < 0, 0).masked_fill(behind > 0, len(times) - 1)
            looks: list[tuple[str, bool, Tensor, Tensor, Tensor, Tensor | None]] = [
                ("flow", True, index, free, bins, None),
                ("alone", False, index, free, bins, None),
                ("line", True, in_line, free & (behind == 0), bins, None),
            ]
            if self.objective.wide_rows > 0:
                size = b * max(WIDE)
                blocks = torch.arange(n // size, device=z.device) + torch.arange(rows, device=z.device)[:, None]
                wide_bins = (blocks % len(TIME_BINS)).repeat_interleave(size, 1)
                which = torch.randint(16, (rows, n // size), generator=generator, device=z.device)
                wide_index = 1 + wide_bins * 16 + which.repeat_interleave(size, 1)
                sizes = torch.full((rows,), size, device=z.device)
                looks.append(("wide", True, wide_index, free, wide_bins, sizes))
            for kind, seen, index, counted, bins, sizes in looks:
                history = torch.full((rows,), seen, device=z.device)
                t = times[index][..., None]
                noised = Noised(z, (1 - t) * z + t * target, target - z, times, index, counted, history, sizes)
                velocity, hidden, clean = self.predict(noised)
                if self.next_head is not None and kind == "flow":
                    after = ids[:, b::b]
                    entropy = F.cross_entropy(self.next_logits(clean[:, b - 1 : -1 : b]).mT, after, reduction="none")
                    count("next", entropy[after != self.pad])
                error = (velocity - noised.velocity).square().mean(-1)
                for number, time in enumerate(TIME_BINS):
                    chosen = counted & (bins == number)
                    count(f"{kind}_{time}", error[chosen])
                    if self.head is not None and seen:
                        entropy = F.cross_entropy(self.token_logits(hidden[chosen]), ids[chosen], reduction="none")
                        count(f"{'head' if kind == 'flow' else kind + '_head'}_{time}", entropy)
        means = {name: total / number for name, (total, number) in sums.items()}
        for kind in ("flow", "alone", "head", "line", "line_head", "wide", "wide_head"):
            values = [means[f"{kind}_{time}"] for time in TIME_BINS if f"{kind}_{time}" in means]
            if values:
                means[kind] = sum(values) / len(values)
        return means


def start_from_zero(dit: BlockCausalDiT) -> None:
    """AdaLN and the output layer start at zero: every block is the identity, the velocity is 0."""
    for name, layer in dit.named_modules():
        if isinstance(layer, nn.Linear) and (name.startswith("txt_out") or ".ada." in name):
            nn.init.zeros_(layer.weight)
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
