"""What the flow gets wrong, and where: its velocity error in line beside that of the best denoiser with a known prior.

    python -m benchmarks.denoiser --data DATA [--checkpoint FOLDER] [--baseline FOLDER] [--stories 64]

A latent is all but a function of its token, so the exact denoiser is known as soon as the probabilities p(k | text so
far) of the next token are: with mu_k the mean latent of token k and s the spread around it,

    p(k | z_t, text so far)  ~  p(k | text so far) N(z_t; (1 - t) mu_k, t^2 + (1 - t)^2 s^2)
    clean estimate = sum over k of p(k | z_t, text so far) E[z | z_t, k],  velocity = (z_t - clean estimate) / t

Here the probabilities are those of the autoregressive baseline, on true text. The DiT is measured on the same stories
at positions whose block is finished before them and noise after them, where it knows what the baseline knows. `excess`
is the difference, `nats` what it costs a token in the likelihood bound: (1 - t) / t times it, times the width of the
bin and half of the channels (coladlm/evaluate/likelihood.py).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from coladlm import ColaDLM
from coladlm.evaluate.baseline import Baseline
from coladlm.evaluate.likelihood import flow_stage
from coladlm.evaluate.stories import batches, encode
from coladlm.train.corpus import read_stories
from coladlm.train.dit import BIN_HALF_WIDTH, TIME_BINS

LONGEST = 255  # tokens of a story; the baseline was trained on rows of 256 with the end token before them


def token_means(model: ColaDLM, stories: Sequence[Sequence[int]]) -> tuple[Tensor, float]:
    """(V, d), the mean latent of each token in these stories (alone in a block, if it is in none), and the mean square
    distance from it per channel.
    """
    vocab_size, block = model.vae.config.vocab_size, model.vae.config.tokens_per_block
    alone = torch.full((vocab_size, block), model.pad_id)
    alone[:, 0] = torch.arange(vocab_size)
    means = model.vae.scale(model.vae.encode(alone).mean[:, 0]).float()
    sums, squares, counts = torch.zeros_like(means), 0.0, torch.zeros(vocab_size)
    for _, ids in batches(stories, model.pad_id, block):
        z = model.vae.scale(model.vae.encode(ids).mean).float()
        sums.index_add_(0, ids.flatten(), z.flatten(0, 1))
        squares += z.square().mean(-1).sum().item()
        counts.index_add_(0, ids.flatten(), torch.ones(ids.numel()))
    seen = counts > 0
    means[seen] = sums[seen] / counts[seen, None]
    return means, squares / counts.sum().item() - (means.square().mean(-1) * counts).sum().item() / counts.sum().item()


def exact(model: ColaDLM, baseline: Baseline, stories: Sequence[Sequence[int]], means: Tensor,
          spread: float) -> dict[float, tuple[float, float]]:  # fmt: skip
    """By the middle of each time bin: velocity error per channel and nats of the true token."""
    generator = torch.Generator().manual_seed(0)
    sums = {t: torch.zeros(3) for t in TIME_BINS}
    for _, ids in batches(stories, model.pad_id, model.vae.config.tokens_per_block, tokens=1024):
        z = model.vae.scale(model.vae.encode(ids).mean).float()
        before = torch.cat((torch.full((len(ids), 1), baseline.start_id), ids[:, :-1]), 1)
        real = ids != model.pad_id
        prior = baseline.network.logits(baseline.network.hidden(before))[real].log_softmax(-1)
        z, true = z[real], ids[real]
        for middle, total in sums.items():
            t = middle + BIN_HALF_WIDTH * (2 * torch.rand(len(z), 1, generator=generator) - 1)
            noise = torch.randn(z.shape, generator=generator)
            noisy = (1 - t) * z + t * noise
            variance = t.square() + (1 - t).square() * spread
            near = torch.cdist(noisy / (1 - t), means).square() * ((1 - t).square() / (2 * variance))
            posterior = (prior - near).log_softmax(-1)
            gain = (1 - t) * spread / variance  # how far the state tells where around its token's mean a latent lies
            clean = gain * noisy + (1 - gain * (1 - t)) * (posterior.exp() @ means)
            velocity = (noisy - clean) / t
            total += torch.stack((
                (velocity - (noise - z)).square().mean(-1).sum(),
                -posterior.gather(-1, true[:, None]).sum(),
                torch.tensor(float(len(z))),
            ))  # fmt: skip
    return {t: ((total[0] / total[2]).item(), (total[1] / total[2]).item()) for t, total in sums.items()}


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with train.jsonl and valid.jsonl")
    parser.add_argument("--checkpoint", help="folder or Hub id; the bundled model if absent")
    parser.add_argument("--baseline", help="folder; the bundled baseline if absent")
    parser.add_argument("--stories", type=int, default=64, help="held-out ones (%(default)s)")
    options = parser.parse_args()
    model = ColaDLM.from_pretrained(options.checkpoint, device="cpu", dtype="float32")
    baseline = Baseline.from_pretrained(options.baseline, device="cpu", dtype="float32")
    held_out, known = (
        [encode(model.tokenizer, text)[:LONGEST] for text in read_stories(options.data / f"{name}.jsonl")[:count]]
        for name, count in (("valid", options.stories), ("train", 500))
    )
    means, spread = token_means(model, known)
    print(f"spread of a token's latents: {spread**0.5:.3f} per channel, where all latents together have 1\n")
    found = [ids for _, ids in batches(held_out, model.pad_id, model.vae.config.tokens_per_block)]
    values = flow_stage(model).validate(found, torch.Generator().manual_seed(0))
    best = exact(model, baseline, held_out, means, spread)
    print("| t | DiT, in line | exact denoiser | excess | nats | nats of the token, exact |")
    print("|---|---|---|---|---|---|")
    for t, (error, nats) in best.items():
        excess = values[f"line_{t}"] - error
        cost = model.vae.config.latent_dim / 2 * (1 - t) / t * 2 * BIN_HALF_WIDTH * excess
        print(f"| {t} | {values[f'line_{t}']:.3f} | {error:.3f} | {excess:.3f} | {cost:.2f} | {nats:.2f} |")


if __name__ == "__main__":
    main()
