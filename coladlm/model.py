"""ColaDLM: a text VAE, a DiT and a tokenizer on one device. The library's public face."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from random import Random

import torch
from tokenizers import Tokenizer
from torch import Tensor

from .checkpoint import find_checkpoint, load_networks
from .hardware.devices import SMALL_PARAMETERS, choose_device, choose_dtype
from .inputs import (
    PromptError,
    check_ids,
    check_latents,
    check_noise,
    check_noise_of_one,
    check_settings,
    check_texts,
    check_times,
    checked_ids,
    checked_sequences,
)
from .networks.dit import BlockCausalDiT
from .networks.layers import block_causal_mask
from .networks.packed import pack
from .networks.slot_cache import steady
from .networks.text_vae import Posterior, TextVAE
from .rounding import Rounding, to_int8
from .sampling.events import Event, Finished
from .sampling.flow import NOISE_TIME
from .sampling.form import choose_form
from .sampling.plan import Plan
from .sampling.sampler import Sampler
from .settings import SamplerSettings
from .tokenizer import load_tokenizer, text_alone

END_TOKENS = ("<|endoftext|>", "<|im_end|>")
PAD_TOKEN = "<|pad|>"


@dataclasses.dataclass(frozen=True)
class EncodedText:
    """A text as the sampler wants it. ids: (L,) without padding. latents: (n, d), scaled posterior means of the
    positions that hold at least one token; the last of them may hold padding too. padded_ids: (n * patch_size,).
    """

    ids: Tensor
    padded_ids: Tensor
    latents: Tensor


class ColaDLM:
    """A model ready to use. It is never changed by a run: several runs may work on it at once.

    max_tokens: the most tokens of a prompt and its answer together, a guard against running out of memory.
    block_size: latents that the flow carries together with the `defaults`; with other settings see `in_blocks_of`.
    openings: how a text may begin that has no prompt, see `opening`.
    """

    def __init__(self, vae: TextVAE, dit: BlockCausalDiT, tokenizer: Tokenizer, defaults: SamplerSettings | None = None,
                 name: str = "", fingerprint: str = "", max_tokens: int = 8192,
                 openings: Sequence[str] = ()):  # fmt: skip
        self.vae, self.dit, self.tokenizer = vae.eval(), dit.eval(), text_alone(tokenizer)
        self.defaults = defaults or SamplerSettings()
        self.name, self.fingerprint, self.max_tokens = name, fingerprint, max_tokens
        self.openings = tuple(openings)
        self.block_size = self.defaults.block_of(dit.config.block_size)
        self.rounding: Rounding | None = None  # what int8 has changed, where the weights are in int8
        ids: dict[str, int] = {}
        for token in (*END_TOKENS, PAD_TOKEN):
            token_id = tokenizer.token_to_id(token)
            if token_id is None:
                raise ValueError(f"the tokenizer has no {token}, expected {', '.join((*END_TOKENS, PAD_TOKEN))}")
            ids[token] = token_id
        small = self.parameters <= SMALL_PARAMETERS and self.device.type == "cpu"
        for network in (vae, dit) if small else ():
            pack(network)  # a second copy of the weights, laid out for small batches
        self.pad_id: int = ids[PAD_TOKEN]
        # Padding stands after a text alone: where a model of ours writes it, the text is over. The published sampler
        # goes on after it, and so does ours with what has the published form.
        ends = (*END_TOKENS, PAD_TOKEN) if dit.config.token_output else END_TOKENS
        self.end_ids: tuple[int, ...] = tuple(ids[token] for token in ends)
        self.sampler = Sampler(vae, dit, self.read, self.end_ids, self.pad_id)

    @classmethod
    def from_pretrained(cls, path: str | Path | None = None, device: str | torch.device = "auto",
                        dtype: str | torch.dtype = "auto", revision: str | None = None,
                        progress: Callable[[float], None] | None = None, form: str = "auto",
                        compiled: bool | None = None) -> ColaDLM:  # fmt: skip
        """Loads a checkpoint: a folder, a Hub repository id, or the bundled model if `path` is None.

        device: "auto", "cpu", "cuda", ...; dtype of the linear weights: "auto", "float32", "bfloat16", "float16",
        or "int8", a byte or a byte and a half a weight (see `rounding.py`; `rounding` says what that changes).
        progress: called with the share of the weights that have been read, in [0, 1]. form: of the sampler's steps,
        "eager", "graph" (captured and replayed), or "auto": on a GPU the faster of the two, as a short run shows.
        compiled: whether their layers are compiled (see `networks/compiled_pieces.py`), which takes its time once; on a
        GPU a short run decides if absent, on a CPU they are not. What cannot be compiled runs operator after operator.
        Raises CheckpointError, ConfigError or SettingsError (all ValueError) with a sentence that names the file.
        """
        checkpoint = find_checkpoint(path, revision)
        device, in_int8 = choose_device(device), dtype == "int8"
        dtype = choose_dtype("auto" if in_int8 else dtype, device, checkpoint.dit_config.txt_dim, ["int8"])
        defaults = checkpoint.settings
        vae, dit = load_networks(checkpoint, device, dtype, progress)
        rounding = to_int8(vae, dit, dtype) if in_int8 else None
        tokenizer = load_tokenizer(checkpoint.tokenizer_file)
        model = cls(
            vae, dit, tokenizer, defaults, checkpoint.name, checkpoint.fingerprint, openings=checkpoint.openings
        )
        model.rounding = rounding
        choose_form(model.sampler, form, compiled)
        return model

    # facts

    @property
    def device(self) -> torch.device:
        return self.dit.device

    @property
    def dtype(self) -> torch.dtype:
        """The compute dtype, that of the linear weights."""
        return self.dit.dtype

    @property
    def patch_size(self) -> int:
        """Tokens in a latent."""
        return self.vae.config.patch_size

    @property
    def latent_dim(self) -> int:
        return self.vae.config.latent_dim

    @property
    def parameters(self) -> int:
        """Number of parameters of the VAE and the DiT."""
        return sum(p.numel() for network in (self.vae, self.dit) for p in network.parameters())

    def opening(self, seed: int) -> str:
        """One of `openings`, the same for the same seed; "" where the checkpoint has none.

        Guidance pulls a block towards what stands before it, and nothing stands before the first block of a text
        without a prompt. An opening in the prompt's place gives it something to follow.
        """
        return self.openings[Random(seed).randrange(len(self.openings))] if self.openings else ""

    # the size of a block

    def in_blocks_of(self, settings: SamplerSettings) -> ColaDLM:
        """This model as these settings sample it: itself, or one with the same networks and another `block_size`.

        What is given settings minds them anyway; this is for what asks the model how large a block is.
        Raises SettingsError for a size that does not fit the blocks of the text VAE.
        """
        size = check_settings(settings).block_of(self._own_size)
        if size == self.block_size:
            return self
        model = copy.copy(self)
        model.block_size = size
        model.defaults = self.plain(dataclasses.replace(self.defaults, block_size=size))
        return model

    def plain(self, settings: SamplerSettings) -> SamplerSettings:
        """The settings, with a `block_size` that is the checkpoint's own anyway left out: so a recipe is the same."""
        return dataclasses.replace(settings, block_size=None) if settings.block_size == self._own_size else settings

    @property
    def _own_size(self) -> int:
        return self.dit.config.block_size

    # texts and latents

    def read(self, ids: Sequence[int]) -> str:
        """Token ids -> text, special tokens left out. Raises PromptError for numbers that are no ids."""
        ids, size = checked_ids(ids), self.vae.config.vocab_size
        for wrong in (i for i in ids if not 0 <= i < size):
            raise PromptError(f"a token id is {wrong}, expected 0 to {size - 1}")
        return self.tokenizer.decode(ids, skip_special_tokens=True)

    def tokenize(self, text: str, limited: bool = True) -> list[int]:
        """Text -> token ids, none added, none special. Raises PromptError for what is no text or, unless limited is
        False, has more than `max_tokens`.
        """
        if not isinstance(text, str):
            raise PromptError(f"a text is {type(text).__name__}, expected a text")
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            where = error.start
            raise PromptError(f"a text has a broken character at position {where}, expected valid Unicode") from error
        ids = self.tokenizer.encode(text, add_special_tokens=False).ids
        if limited and len(ids) > self.max_tokens:
            raise PromptError(f"a text has {len(ids):,} tokens, expected at most {self.max_tokens:,}")
        return ids

    @torch.no_grad()
    def encode(self, text: str) -> Posterior:
        """The posterior of a text, unscaled: mean and logvar (n, d). n covers whole blocks: the text's last block is
        padded with <|pad|>, as the sampler pads a prompt, and its first ceil(tokens / patch_size) latents are the text.
        """
        return self._posterior([self.tokenize(text)])[0]

    def _posterior(self, batch: Sequence[Sequence[int]]) -> list[Posterior]:
        """Posteriors of texts of any length in one pass, each over its own whole blocks."""
        per_block = self.vae.config.tokens_per_block
        lengths = [-(-len(ids) // per_block) * per_block for ids in batch]
        longest = max(lengths, default=0)
        if self.device.type == "cpu":  # so that a text is the same to the last bit beside longer ones (see `steady`)
            longest = steady(longest // self.patch_size) * self.patch_size
        padded = torch.full((len(batch), longest), self.pad_id)
        for row, ids in enumerate(batch):
            padded[row, : len(ids)] = torch.tensor(ids, dtype=torch.long)
        if not padded.numel():
            empty = torch.zeros(0, self.latent_dim, device=self.device)
            return [Posterior(empty, empty if self.vae.config.use_variation else None) for _ in batch]
        posterior = self.vae.encode(padded.to(self.device))
        sizes = [length // self.patch_size for length in lengths]
        logvars = [None] * len(batch) if posterior.logvar is None else posterior.logvar
        return [Posterior(mean[:n], logvar if logvar is None else logvar[:n])
                for mean, logvar, n in zip(posterior.mean, logvars, sizes, strict=True)]  # fmt: skip

    @torch.no_grad()
    def encode_texts(self, texts: Sequence[str]) -> list[EncodedText]:
        """Scaled posterior means of a batch of texts in one pass, on the CPU, padding left out. Equal texts are encoded
        once. Raises PromptError.
        """
        check_texts(texts, "texts")
        tokens = {text: self.tokenize(text) for text in texts}
        posteriors = dict(zip(tokens, self._posterior(list(tokens.values())), strict=True))
        encoded = []
        for text in texts:
            ids, posterior = tokens[text], posteriors[text]
            n = -(-len(ids) // self.patch_size)
            latents = self.vae.scale(posterior.mean[:n]).float().cpu()
            padded = torch.full((n * self.patch_size,), self.pad_id)
            padded[: len(ids)] = torch.tensor(ids, dtype=torch.long)
            encoded.append(EncodedText(padded[: len(ids)], padded, latents))
        return encoded

    @torch.no_grad()
    def encode_ids(self, ids: Tensor) -> Tensor:
        """Scaled posterior means (batch, n, d) of token ids (batch, n * patch_size), on the CPU. A block of the VAE at
        the end that is not whole is padded for that, as it is in a prompt. Raises PromptError.
        """
        check_ids(ids, self.vae.mask_id)
        ids = ids.long()
        missing = -ids.shape[1] % self.vae.config.tokens_per_block
        whole = torch.cat((ids, ids.new_full((len(ids), missing), self.pad_id)), 1)
        means = self.vae.encode(whole.to(self.device)).mean
        return self.vae.scale(means[:, : ids.shape[1] // self.patch_size]).float().cpu()

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Logits (n * patch_size, vocab) for latents (n, d), read by the decoder as they are (unscaled or scaled).
        Raises PromptError.
        """
        check_latents(latents, self.latent_dim)
        return self.vae.decode(latents.to(self.device)[None])[0]

    @torch.no_grad()
    def velocity(self, z: Tensor, t: Tensor) -> Tensor:
        """The velocity (n, d) of a whole sequence of latents z (n, d) at times t (n,) in [0, 1000], without context.
        Raises PromptError.
        """
        check_latents(z, self.latent_dim)
        check_times(t, len(z))
        if not len(z):
            return z.new_zeros(z.shape, dtype=torch.float32, device=self.device)
        mask = None if self.block_size == self._own_size else block_causal_mask(len(z), self.block_size, self.device)
        return self.dit(z.to(self.device)[None], t.to(self.device)[None], mask)[0]

    # sampling

    def plan(self, prompt: str, settings: SamplerSettings | None = None, sequence: int = 0,
             noise: Tensor | None = None) -> Plan:  # fmt: skip
        """The plan that continues a prompt. noise: (blocks, b, d) in place of drawn noise; fewer blocks than the
        settings ask for end the text there. Raises PromptError, SettingsError.
        """
        settings = self.defaults if settings is None else check_settings(settings)
        (key,) = checked_sequences([sequence], 1)
        if noise is not None:
            check_noise_of_one(noise, settings.block_of(self._own_size), self.latent_dim)
        return self.plan_encoded(self.encode_texts([prompt])[0], settings, key, noise)

    def plan_encoded(self, text: EncodedText, settings: SamplerSettings, sequence: int = 0,
                     noise: Tensor | None = None) -> Plan:  # fmt: skip
        """The same for a text that is encoded already."""
        blocks, rest = self.new_blocks(len(text.ids), settings)
        b, ps = settings.block_of(self._own_size), self.patch_size
        whole = len(text.latents) - rest
        if noise is not None:
            blocks = min(blocks, len(noise))
            noise = noise[:blocks].float().cpu()
        source = torch.zeros(blocks, b, self.latent_dim)
        start = torch.full((blocks, b), NOISE_TIME)
        pinned_ids = torch.full((blocks, b * ps), -1)
        if rest:  # pinned at the start of the first new block
            source[0, :rest], start[0, :rest] = text.latents[whole:], 0.0
            pinned_ids[0, : rest * ps] = text.padded_ids[whole * ps :]
        return Plan(text.latents[:whole], text.padded_ids[: whole * ps], source, start, pinned_ids,
                    settings.max_new_tokens, skip=rest * ps, sequence=sequence, noise=noise)  # fmt: skip

    def new_blocks(self, prompt_tokens: int, settings: SamplerSettings) -> tuple[int, int]:
        """How many blocks continue a prompt, and how many latents of the first are the prompt's, without encoding it.

        Raises PromptError, SettingsError.
        """
        b, ps = settings.block_of(self._own_size), self.patch_size
        if prompt_tokens + settings.max_new_tokens > self.max_tokens:
            raise PromptError(f"prompt and answer have {prompt_tokens:,} + {settings.max_new_tokens:,} tokens, "
                              f"expected at most {self.max_tokens:,} together")  # fmt: skip
        rest = -(-prompt_tokens // ps) % b
        return -(-(rest * ps + settings.max_new_tokens) // (b * ps)), rest

    def sample(self, prompts: Sequence[str], settings: SamplerSettings | None = None, noise: Tensor | None = None,
               sequences: Sequence[int] | None = None) -> Generator[Event]:  # fmt: skip
        """Continues a batch of prompts; an event for every step, block and the end.

        noise: (blocks, batch, b, d) in place of drawn noise; fewer blocks than the settings ask for end the text there.
        sequences: the key of each sequence's randomness, 0, 1, ... if absent; a sequence with the same key gives the
        same text alone and in any batch, as long as no two of its words are so nearly as likely as each other that the
        last digit of a sum decides.
        Raises PromptError, SettingsError (both ValueError).
        """
        settings = self.defaults if settings is None else settings
        return self.run_plans(self.plans(prompts, settings, noise, sequences), settings)

    def plans(self, prompts: Sequence[str], settings: SamplerSettings, noise: Tensor | None = None,
              sequences: Sequence[int] | None = None) -> list[Plan]:  # fmt: skip
        """The plans that `sample` runs, whose arguments these are. Raises PromptError, SettingsError."""
        check_texts(prompts)
        if not prompts:
            raise PromptError("prompts is empty, expected a list of at least one text")
        keys = checked_sequences(sequences, len(prompts))
        block_size = check_settings(settings).block_of(self._own_size)
        if noise is not None:
            check_noise(noise, len(prompts), block_size, self.latent_dim)
        texts = self.encode_texts(prompts)
        rows = [None] * len(prompts) if noise is None else noise.unbind(1)
        return [self.plan_encoded(text, settings, key, row) for text, key, row in zip(texts, keys, rows, strict=True)]

    def run_plans(self, plans: Sequence[Plan], settings: SamplerSettings, invert: bool = False,
                  inverse_iterations: int = 0) -> Generator[Event]:  # fmt: skip
        """Runs plans as one batch (see `Sampler.run`)."""
        return self.sampler.run(plans, settings, invert, inverse_iterations)

    def generate(self, prompts: Sequence[str], settings: SamplerSettings | None = None, noise: Tensor | None = None,
                 sequences: Sequence[int] | None = None) -> list[str]:  # fmt: skip
        """Continues a batch of prompts and returns the texts, prompts not included. See `sample`."""
        settings = self.defaults if settings is None else settings
        plans = self.plans(prompts, settings, noise, sequences)
        for event in self.sampler.run(plans, settings, behind=False):  # nobody sees its steps
            if isinstance(event, Finished):
                return event.texts
        raise RuntimeError("the sampler ended without a result")
