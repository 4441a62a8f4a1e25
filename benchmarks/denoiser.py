"""What the flow gets wrong, and where: its velocity error in line beside that of the best denoiser with a known prior.

    python -m benchmarks.denoiser --data DATA [--checkpoint FOLDER] [--baseline FOLDER] [--stories 64]

See coladlm/train/exact_denoiser.py. Here the probabilities of the next token are those of the autoregressive baseline,
on true text. The DiT is measured on the same stories at positions whose block is finished before them and noise after
them, where it knows what the baseline knows. `excess` is the difference, `nats` what it costs a token in the likelihood
bound: (1 - t) / t times it, times the width of the
bin and half of the channels (coladlm/evaluate/likelihood.py). A token is named by the DiT where its mean is the nearest
to the clean estimate.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch

from coladlm import ColaDLM
from coladlm.baseline.baseline import Baseline
from coladlm.evaluate.likelihood import flow_stage
from coladlm.evaluate.stories import batches, encode
from coladlm.train.corpus import read_stories
from coladlm.train.dit_validation import BIN_HALF_WIDTH, TIME_BINS
from coladlm.train.exact_denoiser import ExactDenoiser, token_means
from coladlm.train.noising import Noised

LONGEST = 255  # tokens of a story; the baseline was trained on rows of 256 with the end token before them
DRAWN = 64  # times of a bin


def measured(model: ColaDLM, exact: ExactDenoiser, stories: Sequence[Sequence[int]]) -> dict[float, list[float]]:
    """By the middle of each time bin, at the same places and with the same noise: velocity error per channel of the
    DiT and of the exact denoiser, share of tokens whose mean is nearest to the DiT's clean estimate, share of those
    that the exact denoiser finds likeliest, nats of the true token by it.
    """
    generator, stage, block = torch.Generator().manual_seed(0), flow_stage(model), model.block_size
    sums = {t: torch.zeros(6) for t in TIME_BINS}
    for _, ids in batches(stories, model.pad_id, model.vae.config.tokens_per_block, tokens=1024):
        rows, n = ids.shape
        z = model.vae.scale(model.vae.encode(ids).mean).float()
        prior = exact.prior(ids)
        history = torch.ones(rows, dtype=torch.bool)
        for middle, total in sums.items():
            drawn = middle + BIN_HALF_WIDTH * (2 * torch.rand(DRAWN, generator=generator) - 1)
            times = torch.cat((torch.zeros(1), drawn, torch.ones(1)))
            which = 1 + torch.randint(DRAWN, (rows, n), generator=generator)
            for place in range(block):
                behind = torch.arange(n) % block - place
                index = which.masked_fill(behind < 0, 0).masked_fill(behind > 0, DRAWN + 1)
                noise = torch.randn(z.shape, generator=generator)
                t = times[index][..., None]
                noised = Noised(z, (1 - t) * z + t * noise, noise - z, times, index, index > 0, history)
                velocity = stage.velocity(stage.predict(noised), noised)
                there = (ids != model.pad_id) & (behind == 0)
                t, noisy, wanted, true = t[there], noised.noisy[there], noised.velocity[there], ids[there]
                by_flow = noisy - t * velocity[there]
                posterior, by_tokens = exact.guess(noisy, t, prior[there])
                total += torch.stack((
                    *(((noisy - clean) / t - wanted).square().mean(-1).sum() for clean in (by_flow, by_tokens)),
                    (torch.cdist(by_flow, exact.means).argmin(-1) == true).sum(),
                    (posterior.argmax(-1) == true).sum(),
                    -posterior.gather(-1, true[:, None]).sum(),
                    there.sum(),
                ))  # fmt: skip
    return {t: (total[:-1] / total[-1]).tolist() for t, total in sums.items()}


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
    rows = (ids for _, ids in batches(known, model.pad_id, model.vae.config.tokens_per_block))
    exact = ExactDenoiser(baseline.network, baseline.start_id, *token_means(model.vae, model.pad_id, rows))
    print(f"spread of a token's latents: {exact.spread**0.5:.3f} per channel, where all latents together have 1\n")
    print(
        "| t | DiT, in line | exact denoiser | excess | nats | tokens named by the DiT | by the exact one | its nats |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for t, (flow, best, named, named_best, nats) in measured(model, exact, held_out).items():
        cost = model.latent_dim / 2 * (1 - t) / t * 2 * BIN_HALF_WIDTH * (flow - best)
        print(f"| {t} | {flow:.3f} | {best:.3f} | {flow - best:.3f} | {cost:.2f} | {100 * named:.0f} % | "
              f"{100 * named_best:.0f} % | {nats:.2f} |")  # fmt: skip


if __name__ == "__main__":
    main()
