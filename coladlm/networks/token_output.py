"""An output layer that names tokens: the clean estimate is a mean over the vocabulary, by the rule of Bayes.

A latent is all but a function of its token. With mu_k the mean latent of token k and s the spread around it, a state z
at time t, and logits of the network for what it makes of the context,

    p(k) = softmax(logits_k + log N(z; (1 - t) mu_k, t^2 + (1 - t)^2 s)),  m = sum over k of p(k) mu_k
    velocity = E[noise - data | z] = (t - (1 - t) s) / (t^2 + (1 - t)^2 s) (z - (1 - t) m) - m

So the network says what could stand there, which a language model learns well, and need not learn by heart where the
latents of all tokens lie. It is an extension of the published form, whose output layer gives the velocity itself (for
embeddings in place of latents: Dieleman et al. 2022, arXiv:2211.15089; Gulrajani and Hashimoto 2023, arXiv:2305.18619).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .layers import FEW_ROWS, Linear

Product = Callable[[Tensor], Tensor]


class TokenOutput(nn.Module):
    """Hidden states, states and times -> velocities. The means and the spread are float32 in every compute dtype.

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

    def logits(self, h: Tensor, z: Tensor, t: Tensor) -> Tensor:
        """h (m, dim), z (m, d), t (m, 1) in [0, 1] -> (m, V), float32, of the tokens given the state as well."""
        logits = self.proj(h).float()
        with torch.autocast(z.device.type, enabled=False):
            gain = (1 - t) / self._variance(t)
            # log N(z; (1 - t) mean, variance), without what is the same for every token
            state = torch.cat((gain * z.float(), -0.5 * (1 - t) * gain), 1)
            return logits + self.products.of(self.means)[0](state)

    def forward(self, h: Tensor, z: Tensor, t: Tensor) -> Tensor:
        """h (..., dim), z (..., d), t (..., 1) in [0, 1], or of fewer axes -> the velocity (..., d), float32."""
        shape, count = z.shape, z[..., 0].numel()
        t = t.float().expand(*shape[:-1], 1).reshape(-1, 1)
        h, z = h.flatten(0, -2), z.float().flatten(0, -2)
        if count < FEW_ROWS and z.device.type == "cpu":  # so that a row is the same to the last bit in any batch
            h, z, t = (F.pad(x, (0, 0, 0, FEW_ROWS - count), value=1.0) for x in (h, z, t))
        shares = self.logits(h, z, t).softmax(-1)
        with torch.autocast(z.device.type, enabled=False):
            mean = self.products.of(self.means)[1](shares)
        gain = (t - (1 - t) * self.spread) / self._variance(t)
        return (gain * (z - (1 - t) * mean) - mean)[:count].view(shape)

    def _variance(self, t: Tensor) -> Tensor:
        return t.square() + (1 - t).square() * self.spread


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
