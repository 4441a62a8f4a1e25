"""What the waypoints of an interpolation are made of: latents between texts, and the plans that carry them.

A text may stand before all waypoints, the same for each. Its whole blocks are the prefix, and what is left over is
pinned at the start of the first block, as the sampler does with a prompt.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..model import ColaDLM, EncodedText
from ..sampling.flow import NOISE_TIME
from ..sampling.plan import Plan
from . import geometry
from .layout import LatentSpace, blocks_for, lay_out


class WaypointPlans:
    """The texts of an interpolation, laid out, and the plans of the waypoints between them.

    before: token ids that stand before every waypoint. tokens: those of the texts. stretched: a waypoint between texts
    of different length has a length between; otherwise it is padded to the length of the longer one. closed: the texts
    end where they end; otherwise they are prompts. lead: how many latents of the first block belong to `before`.
    """

    def __init__(self, model: ColaDLM, before: list[int], tokens: list[list[int]], stretched: bool, closed: bool):
        b, ps = model.block_size, model.patch_size
        before = before[len(before) % ps :]  # whole patches
        self.model, self.before, self.tokens, self.stretched = model, before, tokens, stretched
        self.space = LatentSpace(model.vae.config)
        self.known = [before + ids for ids in tokens]
        blocks = blocks_for(model, max(map(len, self.known))) + 1  # one more for the end of the longest
        layouts = lay_out(model, self.known, blocks, closed)
        first, self.lead = divmod(len(before) // ps, b)
        self.first = first * b  # latents of the prefix
        self.prefix, self.prefix_ids = layouts[0].latents[: self.first], layouts[0].ids[: self.first * ps]
        self.latents = [layout.latents[self.first :] for layout in layouts]  # (n, d) of each text, from the lead on
        self.ids = [layout.ids[self.first * ps :] for layout in layouts]
        self.lengths = [-(-len(ids) // ps) for ids in tokens]  # of the texts alone, in latents

    def between(self, sources: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
        """Latents between those of the texts, each (n, d); exactly those of a text where it has all the weight."""
        inside = [i for i, w in enumerate(weights) if w > 0]
        if len(inside) == 1:
            return sources[inside[0]].clone()
        if len(inside) == 2:
            first, second = inside
            return self.space.between(sources[first], sources[second], weights[second])
        return self.space.mean(torch.stack([sources[i] for i in inside]), torch.tensor([weights[i] for i in inside]))

    def noise_between(self, noises: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
        """The same for noises of the texts, (blocks, b, d)."""
        inside = [i for i, w in enumerate(weights) if w > 0]
        if len(inside) == 1:
            return noises[inside[0]]
        if len(inside) == 2:
            first, second = inside
            return geometry.noise_slerp(noises[first], noises[second], weights[second])
        return geometry.noise_mean(torch.stack([noises[i] for i in inside]), torch.tensor([weights[i] for i in inside]))

    def latents_of(self, weights: Sequence[float]) -> tuple[Tensor, int]:
        """A waypoint's latents (blocks * b, d) from the lead on, in the blocks it needs; how many are lead and text."""
        b, lead, inside = self.model.block_size, self.lead, [i for i, w in enumerate(weights) if w > 0]
        if not self.stretched:
            n = lead + max(self.lengths[i] for i in inside)
            return self.between([latents[: -(-n // b) * b] for latents in self.latents], weights), n
        n = round(sum(self.lengths[i] * weights[i] for i in inside))
        texts = [z[lead:][stretch(m, n)] for z, m in zip(self.latents, self.lengths, strict=True)]
        nearest = max(inside, key=lambda i: weights[i])
        after = self.latents[nearest][lead + self.lengths[nearest] :]  # how the nearest text ends
        n += lead
        return torch.cat((self.between([z[:lead] for z in self.latents], weights), self.between(texts, weights),
                          after[: -n % b])), n  # fmt: skip

    def plan(self, weights: Sequence[float], start: float, noise: Tensor | None = None) -> Plan:
        """The plan of a waypoint that is written from `start`, a time in [0, 1000]. noise: (blocks, b, d), or drawn.

        A start of 0 at a text pins its tokens too.
        """
        b, d, ps = self.model.block_size, self.model.latent_dim, self.model.patch_size
        source = self.latents_of(weights)[0].view(-1, b, d)
        blocks, lead = len(source), self.lead
        times, pinned = torch.full((blocks, b), start), torch.full((blocks, b * ps), -1)
        times[0, :lead], pinned[0, : lead * ps] = 0.0, self.ids[0][: lead * ps]
        if start == 0 and 1.0 in weights:
            pinned = self.ids[weights.index(1.0)][: pinned.numel()].view(blocks, -1).clone()
        return Plan(self.prefix, self.prefix_ids, source, times, pinned, blocks * b * ps - lead * ps, skip=lead * ps,
                    noise=None if noise is None else noise[:blocks])  # fmt: skip

    def inversion_plans(self) -> list[Plan]:
        """The plans that carry each text to its noise, all in the same number of blocks."""
        b, ps = self.model.block_size, self.model.patch_size
        blocks = -(-(self.lead + max(self.lengths)) // b)
        plans = []
        for text in range(len(self.tokens)):
            plan = self.plan([float(i == text) for i in range(len(self.tokens))], NOISE_TIME)
            source = self.latents[text][: blocks * b].view(blocks, b, -1)
            times, pinned = torch.full((blocks, b), NOISE_TIME), torch.full((blocks, b * ps), -1)
            times[0, : self.lead], pinned[0, : self.lead * ps] = 0.0, plan.pinned_ids[0, : self.lead * ps]
            plans.append(Plan(plan.prefix, plan.prefix_ids, source, times, pinned, plan.max_new_tokens, plan.skip))
        return plans

    def prompt(self, weights: Sequence[float]) -> tuple[EncodedText, list[int]]:
        """The prompt of a waypoint with all that stands before it, and the tokens of the prompt alone."""
        model, ps = self.model, self.model.patch_size
        latents, n = self.latents_of(weights)
        whole = torch.cat((self.prefix, latents))
        length = self.first + n
        if 1.0 in weights:
            ids = torch.tensor(self.known[weights.index(1.0)])
            padded = torch.cat((self.prefix_ids, self.ids[weights.index(1.0)]))[: length * ps]
        else:
            ids = padded = model.decode(whole).argmax(-1).cpu()[: length * ps]
            padded[: (self.first + self.lead) * ps] = torch.tensor(self.known[0])[: (self.first + self.lead) * ps]
        return EncodedText(ids, padded, whole[:length]), ids[(self.first + self.lead) * ps :].tolist()


def arch(weights: Sequence[float]) -> float:
    """How far a waypoint is from every text: 0 at a text, 1 half-way between two; a half circle in between."""
    return min(1.0, max(0.0, 2 * (1 - sum(w * w for w in weights)))) ** 0.5


def stretch(m: int, n: int) -> list[int]:
    """For each of n positions the nearest of m, both ends kept."""
    if n == 1:
        return [(m - 1) // 2]
    return [round(i * (m - 1) / (n - 1)) for i in range(n)]
