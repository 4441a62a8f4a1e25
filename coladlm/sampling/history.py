"""History: what stands before the block to come, for all rows of a run: the caches of the networks, and the tokens.

Tensors of all rows are right-aligned: all texts end at the same place, and a row with a shorter history has empty ones
at its start. In the caches of the networks each row has a slot of its own (`slot_cache.py`).
Rows leave and join between passes; `place` comes next.

The DiT's blocks have the size that the run asks for, the VAE's the size that they were trained with. Where the DiT's
are larger, a pass of the VAE covers several of its own. Where they are smaller, a block of the VAE is read as far as it
is written, and again with each part that is added, so that it stands in the caches as a whole once it is one.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..hardware.side_stream import SideWork
from ..hardware.transfer import upload
from ..networks.dit import BlockCausalDiT
from ..networks.slot_cache import SlotCache
from ..networks.text_vae import TextVAE
from .plan import Plan
from .tokens import NO_TOKEN

PREFILL_LATENTS = 512  # latents of the prefix that pass at once: bounds the mask and the activations


class History:
    """The caches of a run, preallocated and written in place.

    block_size: of the DiT. reread: so many positions before the block to come may belong to a block of the VAE that
    is not whole yet: 0 where the VAE's blocks are no larger. recent: (rows, reread, d), their latents.
    position: places before the block to come. padding: (rows,), empty places at the start of each row, on the CPU.
    seen: (rows, vocab) bool, the tokens decoded so far, for the repetition penalty; at a pinned position that is what
    the decoder chose there, as in the published sampler, and not the token that stands in the text.
    context: (rows, capacity * patch_size), all tokens so far, for the rule against repeated n-grams.
    unread: passes that `prefill` has still to make, before which nothing else may be asked of it. They read a prefix
    that several rows have once, as the one of the variations of a text; of_rows: for each row, which of those read.
    side_work: what may still be reading the caches of the text, such as a preview on a side stream.
    """

    side_work: SideWork | None = None

    @torch.inference_mode()  # also where no run is under way: products that may need a gradient are others
    def __init__(self, vae: TextVAE, dit: BlockCausalDiT, plans: Sequence[Plan], reencoded: bool, pad_id: int,
                 block_size: int) -> None:  # fmt: skip
        """For the prefixes of these plans. reencoded: whether later blocks read encoded tokens in place of latents."""
        self.vae, self.dit, self.device, self.pad_id = vae, dit, dit.device, pad_id
        self.block_size, self.patch_size = block_size, vae.config.patch_size
        self.reread = max(vae.config.block_size - block_size, 0)
        self.of_rows, read = _read_once(plans)
        self.recent = torch.zeros(len(read), self.reread, vae.config.latent_dim, device=self.device)
        lengths = torch.tensor([len(plan.prefix) for plan in read])
        self.position = int(lengths.max())
        self.padding = self.position - lengths
        capacity = self.position + self.block_size * max(plan.blocks for plan in plans)
        c, v = dit.config, vae.config

        def cache(layers: int, heads: int, head_dim: int, block_size: int) -> SlotCache:
            made = SlotCache(layers, heads, head_dim, len(plans), capacity, block_size, dit.dtype, self.device)
            made.rows = len(read)
            return made

        self.flow_cache = cache(c.num_layers, c.heads, c.head_dim, block_size)
        self.decoder_cache = cache(v.decoder_num_blocks, v.kv_heads, v.head_dim, v.block_size)
        self.encoder_cache = cache(v.encoder_num_blocks, v.kv_heads, v.head_dim, v.block_size) if reencoded else None
        self.seen = torch.zeros(len(plans), v.vocab_size, dtype=torch.bool, device=self.device)
        self.context = torch.full((len(read), capacity * self.patch_size), NO_TOKEN, device=self.device)
        self.clean_modulations = dit.modulations(torch.zeros(1, device=self.device)).at(0)
        for row, plan in enumerate(plans):
            if plan.written is not None:
                self.seen[row, upload(plan.written, self.device)] = True
        self.piece = max(PREFILL_LATENTS // self.block_size, 1) * self.block_size
        self.unread = -(-self.position // self.piece)
        self._prefix = self._prefix_of(read) if self.unread else None
        if not self.unread:
            self._repeat()

    def _prefix_of(self, plans: Sequence[Plan]) -> tuple[Tensor, Tensor]:
        """The prefixes of these plans, at the end of their slots: latents (rows, n, d), ids (rows, n * patch_size)."""
        latents = torch.zeros(len(plans), self.position, self.vae.config.latent_dim)
        ids = torch.full((len(plans), self.position * self.patch_size), self.pad_id)
        for row, plan in enumerate(plans):
            if len(plan.prefix):
                latents[row, -len(plan.prefix) :] = plan.prefix
                ids[row, -len(plan.prefix_ids) :] = plan.prefix_ids
                self.context[row, : ids.shape[1]][-len(plan.prefix_ids) :] = upload(plan.prefix_ids, self.device)
        return latents, ids

    @torch.inference_mode()
    def prefill(self, passes: int | None = None) -> None:
        """Fills the caches with the prefixes, in passes of whole blocks: all that are left, or so many of them."""
        for _ in range(self.unread if passes is None else min(passes, self.unread)):
            assert self._prefix is not None  # as long as there is anything unread
            (latents, ids), ps = self._prefix, self.patch_size
            start = (-(-self.position // self.piece) - self.unread) * self.piece
            end = min(start + self.piece, self.position)
            self._place(start, end)
            if self.encoder_cache is not None:
                self._encode(upload(ids[:, start * ps : end * ps], self.device))
            self.remember(upload(latents[:, start:end], self.device))
            self.unread -= 1
        if not self.unread and self._prefix is not None:
            self._prefix = None
            self._repeat()

    def _repeat(self) -> None:
        """Gives every row what has been read of its prefix."""
        if self.of_rows == list(range(len(self.of_rows))):
            return
        for cache in (self.flow_cache, *self._text_caches()):
            cache.repeat(self.of_rows)
        rows = torch.tensor(self.of_rows)
        index = upload(rows, self.device)
        self.padding, self.recent, self.context = self.padding[rows], self.recent[index], self.context[index]

    # passes

    def place(self) -> None:
        """The passes to come are about the block after `position`."""
        self._place(self.position, self.position + self.block_size)

    def _place(self, start: int, end: int) -> None:
        """The passes to come are about these slots, at each row's own positions; those of the VAE also about the slots
        before them that it reads again, from `first` on.
        """
        self.settle()
        self.start, self.end, self.first = start, end, max(start - self.reread, 0)
        self._place_flow(start)
        self.text_rope = self.vae.rope(upload(self._positions(self.first, end).clamp(min=0), self.device))
        for cache in self._text_caches():
            cache.place(self._positions(self.first, end))

    def _place_flow(self, start: int) -> None:
        """The next clean pass of the DiT is about the slots from `start` to the end of those that are placed."""
        positions = self._positions(start, self.end)
        self.flow_cache.place(positions)
        self.flow_rope = self.dit.rope(upload(positions.clamp(min=0), self.device))

    def _positions(self, start: int, end: int) -> Tensor:
        """(rows, end - start) on the CPU, the position of each slot in its row; below 0 where it is empty."""
        return torch.arange(start, end) - self.padding[:, None]

    @property
    def lengths(self) -> Tensor:
        """(rows,) on the CPU, how much stands before the block of each row."""
        return self.position - self.padding

    def decode(self, latents: Tensor, rows: Sequence[int] | None = None) -> Tensor:
        """Latents of the placed slots -> logits, read after the text so far. rows: whose these are, all if None."""
        self.settle()
        if rows is None:
            recent, rope, attend = self.recent, self.text_rope, self.decoder_cache
        else:
            index = upload(torch.tensor(rows), self.device)
            cos, sin = self.text_rope
            recent, rope, attend = self.recent[index], (cos[index], sin[index]), self.decoder_cache.beside(index)
        hidden = self.vae.decode_hidden(self._with_recent(latents, recent), rope, attend)
        return self.vae.decoder.logits(hidden[:, self.start - self.first :])

    def remember(self, latents: Tensor) -> None:
        """Puts clean latents of the placed slots into the caches that later blocks read."""
        self.dit.hidden(latents, self.clean_modulations, self.flow_rope, self.flow_cache)
        self._remember_in_vae(latents)

    def remember_text(self, ids: Tensor, latents: Tensor) -> None:
        """The same for token ids of the placed slots, by their posterior means.

        latents: of these slots, as they came out. They stay where a block of the VAE is not whole yet; once it is, all
        of it is encoded, as in training, and the DiT reads it anew.
        """
        if not self.reread:
            self.remember(self._encode(ids))
            return
        block, positions = self.vae.config.block_size, self._positions(self.first, self.end)
        begun, ended = self.lengths // block * block, (self.lengths + latents.shape[1]) // block * block
        whole = (positions >= begun[:, None]) & (positions < ended[:, None])
        if not whole.any():
            self.remember(latents)
            return
        clean = torch.where(upload(whole, self.device)[..., None], self._encode(ids), self._with_recent(latents))
        before = self.start - self.first
        self.recent[:, self.reread - before :] = clean[:, :before]
        self._place_flow(self.first)
        self.dit.hidden(clean, self.clean_modulations, self.flow_rope, self.flow_cache)
        self._remember_in_vae(clean[:, before:])

    def _encode(self, ids: Tensor) -> Tensor:
        """Token ids of the placed slots -> scaled posterior means, through the encoder's cache; those of the slots
        that it reads again come first.
        """
        before = self.context[:, self.first * self.patch_size : self.start * self.patch_size]
        whole = torch.cat((torch.where(before == NO_TOKEN, self.pad_id, before), ids), 1)
        return self.vae.scale(self.vae.encode(whole, self.text_rope, self.encoder_cache).mean)

    def _remember_in_vae(self, latents: Tensor) -> None:
        self.settle()
        self.vae.decode_hidden(self._with_recent(latents), self.text_rope, self.decoder_cache)
        self.recent = torch.cat((self.recent, latents), 1)[:, latents.shape[1] :]

    def _with_recent(self, latents: Tensor, recent: Tensor | None = None) -> Tensor:
        """Latents of the placed slots after those that the VAE reads again. recent: these, where not of all rows."""
        before = (self.recent if recent is None else recent)[:, self.reread - (self.start - self.first) :]
        return torch.cat((before, latents), 1)

    def settle(self) -> None:
        """Work on a side stream that reads the caches of the text comes before what changes them from now on."""
        if self.side_work is not None:
            self.side_work.before_changes()

    # rows

    def keep(self, rows: list[int]) -> None:
        """Drops all rows but these, which come in this order from now on."""
        self.settle()
        kept = torch.tensor(rows)
        for cache in (self.flow_cache, *self._text_caches()):
            cache.keep(rows)
        index = upload(kept, self.device)
        self.padding, self.recent = self.padding[kept], self.recent[index]
        self.seen, self.context = self.seen[index], self.context[index]

    def join(self, other: History, blocks: int) -> None:
        """Puts the rows of another history behind those of this one. blocks: how many are still to come."""
        self.settle()
        spare = blocks * self.block_size
        lengths = torch.cat((self.lengths, other.lengths))
        capacity = int(lengths.max()) + spare
        self.flow_cache = self.flow_cache.join(other.flow_cache, capacity)
        self.decoder_cache = self.decoder_cache.join(other.decoder_cache, capacity)
        if self.encoder_cache is not None and other.encoder_cache is not None:
            self.encoder_cache = self.encoder_cache.join(other.encoder_cache, capacity)
        before = ((self.context, self.position * self.patch_size), (other.context, other.position * self.patch_size))
        self.position = int(lengths.max())
        self.padding = self.position - lengths
        self.seen, self.recent = torch.cat((self.seen, other.seen)), torch.cat((self.recent, other.recent))
        end = self.position * self.patch_size
        self.context = torch.full((len(lengths), end + spare * self.patch_size), NO_TOKEN, device=self.device)
        parts = self.context.split([len(context) for context, _ in before])
        for part, (context, context_end) in zip(parts, before, strict=True):
            kept = min(context_end, end)
            part[:, end - kept : end] = context[:, context_end - kept : context_end]

    def _text_caches(self) -> list[SlotCache]:
        caches = (self.decoder_cache, self.encoder_cache)
        return [cache for cache in caches if cache is not None]


def _read_once(plans: Sequence[Plan]) -> tuple[list[int], list[Plan]]:
    """Plans of the different prefixes, in the order in which they come, and for each plan which of these it has."""
    if not any(len(plan.prefix) for plan in plans):  # there is nothing to read
        return list(range(len(plans))), list(plans)
    places: dict[tuple[bytes, bytes], int] = {}
    of_rows, read = [], []
    for plan in plans:
        key = plan.prefix_ids.cpu().numpy().tobytes(), plan.prefix.float().cpu().numpy().tobytes()
        if key not in places:
            places[key] = len(read)
            read.append(plan)
        of_rows.append(places[key])
    return of_rows, read


def compacted(kept: Sequence[int]) -> list[int]:
    """These rows in an order in which as few as possible leave their place: holes are filled from the end."""
    count = len(kept)
    stay, move = {row for row in kept if row < count}, [row for row in kept if row >= count]
    return [row if row in stay else move.pop(0) for row in range(count)]
