"""The stages of a run, and what each leaves in the run's folder for the next.

run/tokenizer.json, train.u16, valid.u16     tokenizer
run/vae/config.json, state.safetensors, metrics.jsonl     vae
run/dit/config.json, state.safetensors, metrics.jsonl     dit (and dit-layers, dit-clean, dit-heads: its lessons)
"""

from __future__ import annotations

import ctypes
import dataclasses
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from tokenizers import Tokenizer
from torch import Tensor, nn

from ..baseline.baseline import Baseline
from ..model import ColaDLM
from ..networks.compiled_pieces import first_line, is_of_the_compiler
from ..networks.config import DiTConfig, TextVAEConfig
from ..networks.dit import BlockCausalDiT
from ..networks.text_vae import TextVAE
from ..networks.token_output import TokenInput
from ..tokenizer import load_tokenizer
from .corpus import (
    Corpus,
    CorpusError,
    Rows,
    read_stories,
    train_tokenizer,
    write_tokens,
)
from .dit import DiTStage
from .dit_objective import DiTObjective
from .exact_denoiser import ExactDenoiser, token_means
from .from_transformer import CleanStage, LayerStage, config_like, share_output, take_over
from .loop import LoopSettings, Stage, Training, generator_for
from .meaning import nearest, token_meaning
from .precision import autocast
from .ranks import ALONE, Ranks
from .vae import VAEObjective, VAEStage

Network = TypeVar("Network", bound=nn.Module)
Config = TypeVar("Config", TextVAEConfig, DiTConfig)

Report = Callable[[dict[str, Any]], None]  # called with each line of metrics
EachValidation = Callable[[Training], dict[str, Any]]  # what is added to those of a validation

VALIDATION_ROWS, ROWS_A_BATCH = 128, 16
MEASURED_STORIES = 500  # for the mean latent of each token
LEAST_SHARE = 1e-6  # of a token in the text, for one that comes in none of these
# Of latents around the mean of their token, for an output layer that names tokens. Theirs is 3e-4, and with that the
# last steps of the flow carry all states of a token to one point, from where no inversion finds the way back.
LEAST_SPREAD = 0.05
WORDS = ("dog", "Tom", "happy", "ran", "red", "mom", "ball", "big", "said", "tree", "cake", "rain", "sad", "house",
         "car", "water", "friend", "sleep", "help", "two")  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Place:
    """Where and how a stage runs."""

    folder: Path
    device: str = "cpu"
    dtype: torch.dtype = torch.float32
    tokens: int = 4096  # a batch
    rows: Rows = dataclasses.field(default_factory=Rows)
    compiled: bool = False
    ranks: Ranks = ALONE

    def corpus(self, name: str) -> Corpus:
        return Corpus(self.folder / f"{name}.u16", self.tokenizer(), self.rows)

    def tokenizer(self) -> Tokenizer:
        file = self.folder / "tokenizer.json"
        if not file.is_file():
            raise CorpusError(f"{file}: no such file; the stage `tokenizer` writes it")
        return load_tokenizer(file)

    def valid(self) -> list[Tensor]:
        corpus = self.corpus("valid")
        return [corpus.gather(np.arange(i, min(i + ROWS_A_BATCH, len(corpus))))
                for i in range(0, min(VALIDATION_ROWS, len(corpus)), ROWS_A_BATCH)]  # fmt: skip


def run_tokenizer(place: Place, data: Path, vocab_size: int) -> None:
    """Trains the tokenizer on `data`/train.jsonl and writes both files of token ids."""
    stories = {name: read_stories(data / f"{name}.jsonl") for name in ("train", "valid")}
    place.folder.mkdir(parents=True, exist_ok=True)
    tokenizer = train_tokenizer(stories["train"], vocab_size)
    tokenizer.save(str(place.folder / "tokenizer.json"))
    for name, texts in stories.items():
        write_tokens(place.folder / f"{name}.u16", texts, tokenizer)


def begin_from(place: Place, checkpoint: Path, data: Path) -> None:
    """Begins a run with a checkpoint's tokenizer and VAE, in place of the stages `tokenizer` and `vae`."""
    model = ColaDLM.from_pretrained(checkpoint, device="cpu", dtype="float32")
    (place.folder / "vae").mkdir(parents=True, exist_ok=True)
    model.tokenizer.save(str(place.folder / "tokenizer.json"))
    for name in ("train", "valid"):
        write_tokens(place.folder / f"{name}.u16", read_stories(data / f"{name}.jsonl"), place.tokenizer())
    (place.folder / "vae" / "config.json").write_text(
        json.dumps(model.vae.config.to_dict(), indent=2), encoding="utf-8"
    )
    weights = {f"average.vae.{name}": value.contiguous() for name, value in model.vae.state_dict().items()}
    save_file(weights, place.folder / "vae" / "state.safetensors")


def run_vae(place: Place, config: TextVAEConfig, objective: VAEObjective, settings: LoopSettings,
            report: Report, meaning: Tensor | None = None) -> None:  # fmt: skip
    """Trains the text VAE; `config` counts for the first start, a resumed run keeps its own.

    meaning: (vocab_size, latent_dim), what latents are pulled towards; by the company that tokens keep if absent.
    """
    corpus = place.corpus("train")
    config = _kept_config(place, "vae", config, TextVAEConfig.from_dict)
    if meaning is None:
        found = token_meaning(corpus.ids, config.vocab_size, config.latent_dim, corpus.end)
        meaning = torch.from_numpy(found)
    torch.manual_seed(settings.seed)
    stage = VAEStage(config, meaning, corpus.pad, objective)
    _train(place, "vae", stage, corpus, settings, report)
    if place.ranks.first:
        found = _neighbours(load_vae(place.folder), place.tokenizer(), corpus.pad)
        (place.folder / "vae" / "neighbours.json").write_text(json.dumps(found, indent=1), encoding="utf-8")


@dataclasses.dataclass(frozen=True)
class Beginning:
    """How the DiT of a run begins, where it is not from nothing in the published form.

    start: with the weights of a checkpoint. token_output: its output layer names tokens (see
    `networks/token_output.py`), whatever that of `start` does. transformer: with what an autoregressive one in this
    folder knows of the text (see `from_transformer.py`), learned in `layer_steps` and then `clean_steps` steps, in
    folders named like that of the DiT; of `start` the embedding of times is then all that stays. heads_first: steps in
    which the token heads learn alone, in such a folder too: what fresh heads ask for would only disturb the DiT of
    `start`.
    """

    start: Path | None = None
    token_output: bool = False
    transformer: Path | None = None
    layer_steps: int = 220
    clean_steps: int = 240
    heads_first: int = 0


def run_dit(place: Place, config: DiTConfig, objective: DiTObjective, settings: LoopSettings,
            report: Report, each_validation: EachValidation | None = None,
            name: str = "dit", teacher: Path | None = None, beginning: Beginning | None = None) -> None:  # fmt: skip
    """Trains the DiT on the latents of the run's VAE, in `folder`/`name`, taught by the exact denoiser of the
    autoregressive transformer in the folder `teacher`, if given.

    Raises ValueError where VAE and DiT have blocks of unequal size, the teacher other tokens, or the transformer that
    it begins with other sizes.
    """
    corpus, vae, beginning = place.corpus("train"), load_vae(place.folder), beginning or Beginning()
    start, known = beginning.start, None
    begun = None if start is None else ColaDLM.from_pretrained(start, device="cpu", dtype="float32").dit
    config = config if begun is None else begun.config
    if beginning.token_output:
        config = dataclasses.replace(config, token_output=vae.config.vocab_size)
    if beginning.transformer is not None:
        known = transformer_of(place, beginning.transformer)
        config = config_like(config, known.network.config)
    config = _kept_config(place, name, config, DiTConfig.from_dict)
    if config.block_size != vae.config.block_size:
        found, wanted = config.block_size, vae.config.block_size
        raise ValueError(f"{name}: the DiT has blocks of {found}, expected {wanted}: those of the VAE in this run")
    torch.manual_seed(settings.seed)
    taught_by = None if teacher is None else exact_denoiser(place, teacher, vae, corpus)
    if taught_by is not None and config.token_output:  # the posterior that the output layer can have
        taught_by.spread = max(taught_by.spread, LEAST_SPREAD)
    stage = DiTStage(config, vae, corpus.pad, objective, taught_by)
    if config.token_output:
        _set_tokens(stage.dit, vae, corpus)
    if begun is not None:
        _take_weights(stage, begun, only_times=known is not None)
    if place.compiled:
        _compile(stage.to(place.device), corpus, place, report)
    if not (place.folder / name / "state.safetensors").is_file():
        if known is not None:
            _learn_from(place, name, stage, known, corpus, settings, beginning, report)
        if beginning.heads_first > 0:
            _learn_heads(place, f"{name}-heads", stage, corpus, settings, beginning.heads_first, report)
    _train(place, name, stage, corpus, settings, report, each_validation)


def _take_weights(stage: DiTStage, begun: BlockCausalDiT, only_times: bool) -> None:
    """Gives the DiT of `stage` the weights of another one, but for an output layer of another form. only_times: its
    embedding of times alone.
    """
    kept = begun.state_dict()
    if begun.config.token_output != stage.dit.config.token_output:
        kept = {key: x for key, x in kept.items() if not key.startswith("txt_out.")}
    if only_times:
        kept = {key: x for key, x in kept.items() if key.startswith("emb_in.")}
    stage.dit.load_state_dict(stage.dit.state_dict() | kept)


def _compile(stage: DiTStage, corpus: Corpus, place: Place, report: Report) -> None:
    """Compiles the layers of `stage` in the dtype of training, and reports by how much their gradients differ, or why
    they are not compiled.
    """
    ids = corpus.batch(0, place.tokens, 0).to(place.device)
    about: dict[str, object] = {}
    try:
        with autocast(place.dtype, place.device):
            about["disagreement"] = stage.compile_layers(ids, generator_for(0, 0, place.device))
    except Exception as error:
        if not is_of_the_compiler(error):
            raise
        about["error"] = first_line(error)
    layers = "eager" if stage.layers is None else "compiled"
    report({"kind": "compiled", "seconds": 0.0, "step": 0, **about, "layers": layers})


def _learn_heads(place: Place, name: str, stage: DiTStage, corpus: Corpus, settings: LoopSettings, steps: int,
                 report: Report) -> None:  # fmt: skip
    """Trains the token heads of `stage` with its DiT frozen, by AdamW at four times the rate, and puts them in it."""
    alone = dataclasses.replace(settings, minutes=None, steps=steps, optimizer="adamw", final_rate=0.02, average=0.98,
                                learning_rate=4 * settings.learning_rate, warmup_steps=10)  # fmt: skip
    output = stage.dit.txt_out if stage.dit.config.token_output else None
    stage.dit.requires_grad_(False)
    if output is not None:
        output.requires_grad_(True)
    _train(place, name, stage, corpus, alone, report)
    stage.dit.requires_grad_(True)
    for part, head in (("head.", stage.head), ("next_head.", stage.next_head), ("dit.txt_out.", output)):
        if head is not None:
            load_average(head, place.folder / name, part).train()


def _learn_from(place: Place, name: str, stage: DiTStage, known: Baseline, corpus: Corpus, settings: LoopSettings,
                beginning: Beginning, report: Report) -> None:  # fmt: skip
    """Gives the DiT of `stage` what the transformer knows, in the two lessons of `from_transformer.py`, the first at
    twice the rate.
    """
    learning = {name: parameter.requires_grad for name, parameter in stage.named_parameters()}
    take_over(stage, known.network)
    for lesson, kind, steps, rate in (("layers", LayerStage, beginning.layer_steps, 2.0),
                                      ("clean", CleanStage, beginning.clean_steps, 1.0)):  # fmt: skip
        alone = dataclasses.replace(settings, minutes=None, steps=steps, decay=1.0, average=0.98, warmup_steps=20,
                                    learning_rate=rate * settings.learning_rate)  # fmt: skip
        taught = kind(stage, known.network, known.start_id).to(place.device)
        _train(place, f"{name}-{lesson}", taught, corpus, alone, report)
        learned = {key: parameter for key, parameter in taught.named_parameters() if parameter.requires_grad}
        with safe_open(place.folder / f"{name}-{lesson}" / "state.safetensors", "pt") as file, torch.no_grad():
            for key, parameter in learned.items():
                parameter.copy_(file.get_tensor(f"average.{key}"))
    share_output(stage)
    for key, parameter in stage.named_parameters():
        parameter.requires_grad_(learning[key])
    stage.train()


def _set_tokens(dit: BlockCausalDiT, vae: TextVAE, corpus: Corpus) -> None:
    """Gives an output layer that names tokens their mean latents, and how often each comes as what it begins with."""
    output = dit.tokens
    means, spread, shares = token_means(vae, corpus.pad, _measured_rows(corpus))
    with torch.no_grad():
        output.means.copy_(means)
        output.spread.fill_(max(spread, LEAST_SPREAD))
        output.proj.bias.copy_(shares.clamp(min=LEAST_SHARE).log())
        if dit.config.token_input:
            cast(TokenInput, dit.txt_in["tokens"]).prior.copy_(shares.clamp(min=LEAST_SHARE).log())


def _measured_rows(corpus: Corpus) -> Iterator[Tensor]:
    stories = np.arange(min(MEASURED_STORIES, len(corpus)))
    return (corpus.gather(some) for some in np.array_split(stories, -(-len(stories) // ROWS_A_BATCH)))


def exact_denoiser(place: Place, teacher: Path, vae: TextVAE, corpus: Corpus) -> ExactDenoiser:
    """The exact denoiser of the transformer in the folder `teacher`, on this run's latents. Raises ValueError."""
    reader = transformer_of(place, teacher)
    return ExactDenoiser(reader.network, reader.start_id, *token_means(vae, corpus.pad, _measured_rows(corpus)))


def transformer_of(place: Place, folder: Path) -> Baseline:
    """The autoregressive transformer in a folder, on the tokens of this run. Raises ValueError."""
    found = Baseline.from_pretrained(folder, "cpu", "float32")
    if found.tokenizer.to_str() != place.tokenizer().to_str():
        raise ValueError(f"{folder}: its tokenizer is not that of the run {place.folder}, expected the same")
    return found


def run_decoder(place: Place, objective: VAEObjective, settings: LoopSettings, report: Report) -> None:
    """Trains the decoder on, the encoder frozen: latents stay what they are, and with them the DiT, at any time."""
    corpus, vae = place.corpus("train"), load_vae(place.folder)
    meaning = torch.zeros(vae.config.vocab_size, vae.config.latent_dim)  # what the encoder leans on is settled
    stage = VAEStage(vae.config, meaning, corpus.pad, objective)
    stage.vae = vae
    vae.encoder.requires_grad_(False)
    _train(place, "decoder", stage, corpus, settings, report)


def load_vae(folder: Path) -> TextVAE:
    """The run's VAE, moving average of weights, float32, on the CPU; its decoder as the stage `decoder` left it."""
    vae = TextVAE(TextVAEConfig.from_dict(json.loads((folder / "vae" / "config.json").read_text())))
    load_average(vae, folder / "vae", "vae.")
    if (folder / "decoder" / "state.safetensors").is_file():
        load_average(vae.decoder, folder / "decoder", "vae.decoder.")
    return vae


def load_dit(folder: Path, name: str = "dit") -> BlockCausalDiT:
    """The run's DiT, moving average of weights, float32, on the CPU."""
    dit = BlockCausalDiT(DiTConfig.from_dict(json.loads((folder / name / "config.json").read_text())))
    return load_average(dit, folder / name, "dit.")


def load_average(network: Network, folder: Path, prefix: str) -> Network:
    """Fills a network from the moving average in a state file; `prefix` is its name in the stage."""
    with safe_open(folder / "state.safetensors", "pt") as file:
        names, buffers = network.state_dict(), dict(network.named_buffers())
        kinds = {name: "buffer" if name in buffers else "average" for name in names}
        network.load_state_dict({name: file.get_tensor(f"{kind}.{prefix}{name}") for name, kind in kinds.items()})
    return network.eval()


def keep_memory() -> None:
    """Asks the C library to keep freed memory: giving it back and taking it again costs a training step a quarter."""
    if sys.platform == "linux":
        library = ctypes.CDLL(None)
        if hasattr(library, "mallopt"):
            trim_threshold, mmap_max, arena_max, largest = -1, -4, -8, 2**31 - 1
            library.mallopt(arena_max, 1)  # those of further threads cannot hold large tensors
            library.mallopt(mmap_max, 0)
            library.mallopt(trim_threshold, largest)


def _train(place: Place, name: str, stage: Stage, corpus: Corpus, settings: LoopSettings,
           report: Report, each_validation: EachValidation | None = None) -> None:  # fmt: skip
    training = Training(
        stage,
        lambda step: corpus.batch(step, place.tokens, settings.seed),
        place.valid(),
        settings,
        place.folder / name,
        place.device,
        place.dtype,
        place.ranks,
    )
    training.run(report, each_validation)
    place.ranks.wait()  # for the last state, which the next stage reads


def _kept_config(place: Place, name: str, config: Config, read: Callable[[dict[str, Any], str], Config]) -> Config:
    """The config of a run that has begun, or `config`, written down."""
    folder = place.folder / name
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "config.json"
    if (folder / "state.safetensors").is_file():
        return read(json.loads(file.read_text(encoding="utf-8")), str(file))
    if place.ranks.first:
        file.write_text(json.dumps(config.to_dict(), indent=2), encoding="utf-8")
    return config


@torch.no_grad()
def _neighbours(vae: TextVAE, tokenizer: Tokenizer, pad: int) -> dict[str, list[str]]:
    """For some words the tokens with the nearest latents, each token encoded alone at the start of a padded block."""
    ids = torch.full((vae.config.vocab_size, vae.config.tokens_per_block), pad)
    ids[:, 0] = torch.arange(vae.config.vocab_size)
    latents = vae.encode(ids).mean[:, 0].numpy()
    words = {word: tokenizer.encode(f" {word}").ids for word in WORDS}
    return {word: [tokenizer.decode([i]).strip() for i in nearest(latents, found[0], 6)]
            for word, found in words.items() if len(found) == 1}  # fmt: skip
