"""What processes that train together do in the tests, and how they are started.

They are forked from a server that has imported torch and computed nothing: a copy of a process whose threads have
computed may wait for ever for threads that it does not have. It has also imported what the first step of a training
would import, in every process again and for longer than all the steps take.
"""

import dataclasses
import multiprocessing
import os
import socket
from pathlib import Path

import torch
from torch import nn

from coladlm.baseline.transformer import TransformerConfig
from coladlm.networks.config import DiTConfig, TextVAEConfig
from coladlm.networks.text_vae import TextVAE
from coladlm.train.baseline import BaselineStage
from coladlm.train.dit import DiTObjective, DiTStage
from coladlm.train.loop import LoopSettings, Training
from coladlm.train.ranks import ALONE, joined
from coladlm.train.vae import VAEObjective, VAEStage

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload([__name__, "torch._dynamo", "torch.distributed.fsdp", "torch.distributed.run"])
ROOT = Path(__file__).parents[2]
VOCABULARY, PAD, END, STEPS = 40, 2, 0, 6
SETTINGS = LoopSettings(steps=STEPS, workers=2, learning_rate=3e-3, warmup_steps=2, log_steps=1, average=0.9,
                        validate_seconds=1e9, checkpoint_seconds=1e9)  # fmt: skip
VAE = TextVAEConfig(vocab_size=VOCABULARY, encoder_num_blocks=1, decoder_num_blocks=1, dim=16, ffn_dim=32, num_heads=2,
                    latent_dim=4, block_size=4, post_norm=False)  # fmt: skip
DIT = DiTConfig(txt_in_channels=4, txt_out_channels=4, block_size=4, txt_dim=16, emb_dim=16, heads=2, head_dim=8,
                rope_dim=4, num_layers=2)  # fmt: skip


def stage_of(name):
    torch.manual_seed(0)
    if name == "baseline":
        config = TransformerConfig(vocab_size=VOCABULARY, dim=16, num_layers=2, num_heads=2, ffn_dim=24)
        return BaselineStage(config, END, PAD)
    if name == "vae":
        return VAEStage(VAE, torch.randn(VOCABULARY, 4), PAD, VAEObjective())
    stage = DiTStage(DIT, TextVAE(VAE), PAD, DiTObjective(next_weight=0.0 if name == "dit" else 0.1))
    for parameter in stage.dit.parameters():  # where it starts from zero, most gradients are
        nn.init.normal_(parameter, std=0.1)
    return stage


def batch(step):
    """Three rows, so that the shares of two processes are unequal; every fourth batch has one row alone."""
    generator = torch.Generator().manual_seed(step)
    return torch.randint(3, VOCABULARY, (1 if step % 4 == 3 else 3, 16), generator=generator)


def train(folder, name, ranks=ALONE, until=STEPS, saved_at=None, **settings):
    """Trains to a step; as if killed there where it is not the last."""
    training = Training(stage_of(name), batch, [batch(1000)], dataclasses.replace(SETTINGS, **settings), folder,
                        ranks=ranks)  # fmt: skip
    if until == STEPS:
        training.run()
        return
    while training.step < until:
        training.train_step()
        if training.step == saved_at:
            training.save()


def of_rank(rank, port, sharded, work, arguments):
    torch.set_num_threads(1)
    os.environ.update(RANK=str(rank), WORLD_SIZE="2", MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    with joined("cpu", sharded) as (ranks, _):
        work(*arguments, ranks=ranks)


def together(work, *arguments, sharded=False):
    """Calls work(*arguments, ranks=...) in two processes; returns their exit codes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes = [SERVER.Process(target=of_rank, args=(rank, port, sharded, work, arguments)) for rank in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
        assert process.exitcode is not None, "it did not end"
    return [process.exitcode for process in processes]


def killed_in_the_middle(folder, ranks):
    train(folder, "dit", ranks, until=5, saved_at=3)
    if ranks.rank == 1:
        os._exit(9)
    ranks.wait()


def torchrun(file, given):
    """The command of that name; what it and the processes that it starts say goes into a file."""
    with file.open("w") as said:
        for stream in (1, 2):
            os.dup2(said.fileno(), stream)
    os.chdir(ROOT)
    os.environ["OMP_NUM_THREADS"] = "1"
    from torch.distributed.run import main

    main(given)
