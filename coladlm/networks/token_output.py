"""An output layer that names tokens: the clean estimate is a mean over the vocabulary, by the rule of Bayes.

A latent is all but a function of its token. With mu_k the mean latent of token k and s the spread around it, a state z
at time t, and logits of the network for what it makes of the context,

    p(k) = softmax(logits_k + log N(z; (1 - t) mu_k, t^2 + (1 - t)^2 s)),  m = sum over k of p(k) mu_k
    velocity = E[noise - data | z] = (t - (1 - t) s) / (t^2 + (1 - t)^2 s) (z - (1 - t) m) - m

Guidance can act on the logits, before the rule of Bayes: each combination of them is a distribution of tokens once
more, where a velocity that is led away from another may point to where no token is. A temperature divides them.

So the network says what could stand there, which a language model learns well, and need not learn by heart where the
latents of all tokens lie. It is an extension of the published form, whose output layer gives the velocity itself (for
embeddings in place of latents: Dieleman et al. 2022, arXiv:2211.15089; Gulrajani and Hashimoto 2023, arXiv:2305.18619).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .layers import FEW_ROWS, Linear

Product = Callable[[Tensor], Tensor]
MORE_COEFFICIENTS = 5  # than channels of a latent
NEVER = -1e30  # a logit


class TokenOutput(nn.Module):
    """Hidden states, states and what is known of their times -> velocities. The means and the spread are float32 in
    every compute dtype.

    means: (V, d), of the latents of each token. spread: (1,), the mean square distance from it per channel.
    """

    means: Tensor
    spread: Tensor

    def __init__(self, dim: int, channels: int, tokens: int):
        super().__init__()
        self.proj = Linear(dim, tokens)
        self.register_buffer("means", torch.zeros(tokens, channels))
        self.register_buffer("spread", torch.ones(1))
        self.products = TokenProducts()

    def coefficients(self, t: Tensor, min_p: float = 0.0, temperature: float = 1.0) -> Tensor:
        """All that a velocity needs of its time t (T,) in [0, 1], (T, d + MORE_COEFFICIENTS), in the dtype of t: of the
        state and of the mean of tokens in the velocity; of the state's channels and of the squares of the means in the
        logits; what the network's logits are multiplied with, the inverse of the temperature; and the logarithm of
        min_p, the least probability as a share of the likeliest token's, given context and state, with which a token
        has a part in the mean.
        """
        spread, d = self.spread.to(t), self.means.shape[1]
        variance = t.square() + (1 - t).square() * spread
        of_state = (t - (1 - t) * spread) / variance
        # log N(z; (1 - t) mean, variance), without what is the same for every token
        gain = (1 - t) / variance
        sharpness = torch.full_like(t, 1 / temperature)
        least = torch.full_like(t, math.log(min_p) if min_p else NEVER)
        parts = (of_state, -1 - (1 - t) * of_state, *(gain for _ in range(d)), -0.5 * (1 - t) * gain, sharpness, least)
        return torch.stack(parts, -1)

    def logits(self, h: Tensor) -> Tensor:
        """h (..., dim) -> (..., V), float32: what the network makes of the context, whatever the state says."""
        count = h[..., 0].numel()
        return self.proj(*_in_rows(h)).float()[:count].unflatten(0, h.shape[:-1])

    def with_state(self, logits: Tensor, z: Tensor, coefficients: Tensor) -> Tensor:
        """logits (m, V), z (m, d), coefficients (m, ...) -> (m, V), float32, of all tokens given the state as well."""
        return torch.addcmul(self.of_state(z, coefficients), logits, coefficients[:, -2:-1])

    def forward(self, logits: Tensor, z: Tensor, coefficients: Tensor) -> Tensor:
        """logits (..., V) of the context, z (..., d), coefficients (..., d + 5), or of fewer axes -> the velocity
        (..., d), float32.
        """
        return self.velocities([logits], z, coefficients)[0]

    def velocities(
        self, logits: Sequence[Tensor], z: Tensor, coefficients: Tensor, plausible: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        """Of several logits of one state, which is compared with all tokens once.

        plausible: the logits by which min-p leaves tokens out of the first, where they are others, of these or not.
        What guidance leads away from a text raises what is unlikely after both (Li et al. 2022, arXiv:2210.15097), so
        it is to be judged by what guidance has no part in.
        """
        shape, count = z.shape, z[..., 0].numel()
        given, judges = list(logits), list(range(len(logits)))  # by which of those given each is judged
        if plausible is not None:
            given += [] if any(part is plausible for part in logits) else [plausible]
            judges[0] = next(i for i, part in enumerate(given) if part is plausible)
        z, c, *given = _in_rows(z.float(), coefficients, *given)
        state = self.of_state(z, c)
        measured = [torch.addcmul(state, part, c[:, -2:-1]) for part in given]
        implausible = {i: measured[i] < measured[i].amax(-1, keepdim=True) + c[:, -1:] for i in set(judges)}
        shares = [measured[i].masked_fill(implausible[judge], NEVER) for i, judge in enumerate(judges)]
        with torch.autocast(z.device.type, enabled=False):
            means = self.products.of(self.means)[1](torch.cat(shares).softmax(-1)).chunk(len(shares))
        return tuple(torch.addcmul(c[:, :1] * z, c[:, 1:2], mean)[:count].view(shape) for mean in means)

    def of_state(self, z: Tensor, coefficients: Tensor) -> Tensor:
        """z (m, d), coefficients (m, ...) -> (m, V), float32: log N(z; token), but for what all tokens share."""
        with torch.autocast(z.device.type, enabled=False):
            state = F.pad(z.float(), (0, 1), value=1.0) * coefficients[:, 2:-2]
            return self.products.of(self.means)[0](state)


class TokenInput(nn.Module):
    """States and what is known of their times -> what the network is told of their tokens beside the latents: the mean
    embedding (..., dim), float32, of the tokens that a state by itself leaves possible.

    A latent of few channels says which token it is, and a network needs layers of its own to tell 4,096 points apart.

    prior: (V,), float32, the logarithm of how often each token comes.
    """

    prior: Tensor

    def __init__(self, dim: int, tokens: int):
        super().__init__()
        self.proj = Linear(tokens, dim, bias=False)
        self.register_buffer("prior", torch.zeros(tokens))

    def forward(self, z: Tensor, coefficients: Tensor, output: TokenOutput) -> Tensor:
        """z (..., d), coefficients (..., d + 5), or of fewer axes, of `output`, which knows the means of tokens."""
        shape, count = z.shape, z[..., 0].numel()
        z, c = _in_rows(z.float(), coefficients)
        shares = (self.prior + output.of_state(z, c)).softmax(-1)
        return self.proj(shares).float()[:count].unflatten(0, shape[:-1])


def _in_rows(*tensors: Tensor) -> list[Tensor]:
    """Tensors (..., width), the last of which may have fewer axes, as (m, width): on a CPU at least `FEW_ROWS`, so that
    a row is the same to the last bit in any batch.
    """
    shape = tensors[0].shape[:-1]
    rows = [x.expand(*shape, -1).flatten(0, -2) for x in tensors]
    count = len(rows[0])
    if count < FEW_ROWS and rows[0].device.type == "cpu":
        rows = [F.pad(x, (0, 0, 0, FEW_ROWS - count)) for x in rows]
    return rows


class TokenProducts:
    """The two products with the mean latents of tokens, whose weights are made once, and again when the means were
    replaced, moved or written to.

    pack: lays weights out for a product of few rows, where there is something that does (see `packed.py`).
    """

    def __init__(self, pack: Callable[[Tensor], Product] | None = None) -> None:
        self.pack = pack
        self.key: tuple[int, int] | None = None

    def of(self, means: Tensor) -> tuple[Product, Product]:
        """(m, d + 1) -> (m, V), with each mean and its square; (m, V) -> (m, d), the mean of means."""
        if means.is_inference():
            return self._made(means)
        key = (means.data_ptr(), means._version)
        if self.key != key:
            self.source = means.detach()  # kept, so that no other tensor can come to lie at its address
            with torch.inference_mode(False):
                self.products = self._made(self.source)
            self.key = key
        return self.products

    def __deepcopy__(self, memo: dict[int, object]) -> TokenProducts:
        """A copy of the layer has other means."""
        return TokenProducts(self.pack)

    def _made(self, means: Tensor) -> tuple[Product, Product]:
        pack = _plain if self.pack is None or means.device.type != "cpu" or means.is_inference() else self.pack
        return pack(torch.cat((means, means.square().sum(1, keepdim=True)), 1)), pack(means.t().contiguous())


def _plain(weight: Tensor) -> Product:
    return lambda x: F.linear(x, weight)
