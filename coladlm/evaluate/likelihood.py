"""What the flow knows of held-out text: its velocity error by time, and a bound on the likelihood.

The bound is the variational one of diffusion models (Kingma et al. 2021, arXiv:2107.00630), block by block:

    -log p(x) <= sum over blocks of  E[-log p(x_k | z_e)]  +  integral from e to 1 of (1 - t) / t E|v - v*|^2 dt

x_k are the tokens of a block, z_t = (1 - t) z + t n the noised posterior mean z of the text so far (which sees no later
block), v* = n - z and v the DiT's velocity without guidance, after the posterior means of the tokens before the block.
With alpha = 1 - t and sigma = t, (1 - t) / t |v - v*|^2 is half of |d SNR / dt| |z - clean estimate|^2; at t = 1
nothing of z is left, so there is no third term. The text model that it bounds is this one sampled with
`history="reencoded"`, guidance 1, fresh noise in infinitely many steps from t = 1 to e, then the clean estimate read by
the decoder at temperature 1. It is a bound for every e. Expectations are estimated by draws, so what is reported is the
bound up to its standard error.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..baseline.baseline import perplexity
from ..checkpoint.skeleton import without_weights
from ..model import ColaDLM
from ..networks.layers import attend_under, block_causal_mask
from ..train.dit import DiTStage
from ..train.dit_objective import DiTObjective
from ..train.dit_validation import TIME_BINS, learned_nothing
from ..train.noising import Noised
from .stories import EvaluationError, batches

READ_AT = (0.3, 0.4, 0.45, 0.5, 0.6)
STRATA = 64


def flow_stage(model: ColaDLM) -> DiTStage:
    """The model as its training saw it, for the passes over whole texts. Raises EvaluationError."""
    if model.patch_size != 1:
        raise EvaluationError(f"patch_size is {model.patch_size}, expected 1 for passes over whole texts")
    with without_weights():
        stage = DiTStage(model.dit.config, model.vae, model.pad_id, DiTObjective(head_weight=0))
    stage.dit = model.dit
    return stage.eval()


@torch.inference_mode()
def flow_by_time(model: ColaDLM, stories: Sequence[Sequence[int]], seed: int = 0) -> list[dict[str, float]]:
    """Squared velocity error per channel around five times, on real tokens.

    t: the middle of a bin of width 0.2. with_history, alone: the error with the text so far and without it.
    learned_nothing: of a model that knows only z_t and the unit variance of the data.
    """
    stage = flow_stage(model)
    found = [ids.to(model.device) for _, ids in batches(stories, model.pad_id, model.vae.config.tokens_per_block)]
    values = stage.validate(found, torch.Generator(model.device).manual_seed(seed))
    if any(f"flow_{t}" not in values for t in TIME_BINS):
        tokens = sum(map(len, stories))
        raise EvaluationError(f"the stories have {tokens} tokens, too few to see every time: expected some sentences")
    return [
        {
            "t": t,
            "with_history": values[f"flow_{t}"],
            "alone": values[f"alone_{t}"],
            "learned_nothing": learned_nothing(t),
        }
        for t in TIME_BINS
    ]


@dataclasses.dataclass(frozen=True)
class Bound:
    """-log p of each story is at most `nats`, up to the error of the draws; read_at: the e that was used."""

    read_at: float
    read: Tensor  # (stories,), what the decoder has left to say at e
    flow: Tensor  # (stories,), what the flow says from noise to e
    tokens: Tensor  # (stories,), end tokens counted, padding of last blocks not
    words: Tensor  # (stories,)

    @property
    def nats(self) -> Tensor:
        return self.read + self.flow

    def to_dict(self) -> dict[str, Any]:
        """Per token and per word over all stories together, with the standard error over stories (None for one)."""
        tokens, words, nats = self.tokens.sum().item(), max(1, self.words.sum().item()), self.nats.sum().item()
        residual = self.nats - self.tokens * (nats / tokens)  # of the ratio estimate
        error = (residual.var() * len(residual)).sqrt().item() / tokens if len(residual) > 1 else None
        return {
            "read_at": self.read_at,
            "nats_per_token": nats / tokens,
            "standard_error": error,
            "of_which_read": self.read.sum().item() / tokens,
            "perplexity_per_token": perplexity(nats / tokens),
            "perplexity_per_word": perplexity(nats / words),
        }


@torch.inference_mode()
def likelihood_bounds(model: ColaDLM, stories: Sequence[Sequence[int]], words: Sequence[int],
                      read_at: Sequence[float] = READ_AT, draws: int = 2, seed: int = 0,
                      progress: Callable[[int, int], None] = lambda done, total: None) -> list[Bound]:  # fmt: skip
    """The bound for each e. stories: token ids with their end token; words: how many each story has.

    draws: passes over the stories for the integral, each with a fresh time for every block. Raises EvaluationError.
    """
    stage, generator = flow_stage(model), torch.Generator().manual_seed(seed)
    read = torch.zeros(len(read_at), len(stories), dtype=torch.float64)
    flow = torch.zeros_like(read)
    done = 0
    for rows, ids in batches(stories, model.pad_id, model.vae.config.tokens_per_block):
        ids = ids.to(model.device)
        z = stage.latents(ids)
        inside = _whole_blocks(model, [len(stories[row]) for row in rows], ids.shape[1]).to(z.device)
        for number, e in enumerate(read_at):
            read[number, rows] = _read(stage, z, ids, e, inside, generator).double().cpu()
        for _ in range(draws):
            flow[:, rows] += _integral(stage, z, read_at, inside, generator).double().cpu() / draws
        done += len(rows)
        progress(done, len(stories))
    tokens, counted = torch.tensor([len(ids) for ids in stories]), torch.tensor(words)
    return [
        Bound(e, of_read, of_flow, tokens, counted) for e, of_read, of_flow in zip(read_at, read, flow, strict=True)
    ]


def _whole_blocks(model: ColaDLM, lengths: list[int], n: int) -> Tensor:
    """(rows, n), true in the blocks that hold a token of the story: a story's bound ends with its last block."""
    b = model.vae.config.tokens_per_block
    ends = torch.tensor([-(-length // b) * b for length in lengths])
    return torch.arange(n) < ends[:, None]


def _noised(z: Tensor, t: Tensor, generator: torch.Generator) -> Noised:
    """Every block at its own time in [0, 1], t (rows, n), after the clean blocks before it."""
    noise = torch.randn(z.shape, generator=generator).to(z)
    times, index = torch.unique(t, return_inverse=True)
    times = torch.cat((times.new_zeros(1), times))
    everything = torch.ones_like(t, dtype=torch.bool)
    noisy = (1 - t[..., None]) * z + t[..., None] * noise
    return Noised(z, noisy, noise - z, times, index + 1, everything, everything[:, 0])


def _integral(stage: DiTStage, z: Tensor, lower: Sequence[float], inside: Tensor,
              generator: torch.Generator) -> Tensor:  # fmt: skip
    """An unbiased estimate of the integral above for each lower end, (ends, rows), from one time a block."""
    rows, n, _ = z.shape
    b, least = stage.dit.config.block_size, min(lower)
    count = rows * (n // b)
    strata = (torch.arange(STRATA) + torch.rand(STRATA, generator=generator)) / STRATA
    # rounded up to whole turns of the strata and shuffled, so that each block's time is uniform
    drawn = torch.randperm(-(-count // STRATA) * STRATA, generator=generator)[:count] % STRATA
    t = (least + (1 - least) * strata[drawn]).view(rows, n // b).repeat_interleave(b, 1).to(z)
    noised = _noised(z, t, generator)
    velocity = stage.velocity(stage.predict(noised), noised)
    error = (velocity - noised.velocity).square().sum(-1)
    values = (1 - least) * (1 - t) / t * error * inside
    return torch.stack([(values * (t >= end)).sum(1) for end in lower])


def _read(stage: DiTStage, z: Tensor, ids: Tensor, e: float, inside: Tensor, generator: torch.Generator) -> Tensor:
    """-log p(x_k | z_e) summed over blocks, (rows,): the decoder reads the clean estimate after the clean blocks."""
    vae, (_, n, _) = stage.vae, z.shape
    noised = _noised(z, torch.full(z.shape[:2], e, device=z.device), generator)
    velocity = stage.velocity(stage.predict(noised), noised)
    clean = noised.noisy - e * velocity
    causal = block_causal_mask(n, vae.config.block_size, z.device)
    own = causal & causal.T
    nothing = torch.zeros_like(causal)
    mask = torch.cat((torch.cat((causal, nothing), 1), torch.cat((causal & ~own, own), 1)))
    positions = torch.arange(n, device=z.device).repeat(2)
    hidden = vae.decode_hidden(torch.cat((z, clean), 1), vae.rope(positions), attend_under(mask))[:, n:]
    found = [F.cross_entropy(vae.decoder.logits(h[None])[0], row, reduction="none")
             for h, row in zip(hidden, ids, strict=True)]  # fmt: skip
    return (torch.stack(found) * inside).sum(1)


def best_bound(bounds: Sequence[Bound]) -> dict[str, Any]:
    """The lowest bound of all stories together as plain data, and those for every e."""
    rows = [bound.to_dict() for bound in bounds]
    return {"best": min(rows, key=lambda row: row["nats_per_token"]), "all": rows}
