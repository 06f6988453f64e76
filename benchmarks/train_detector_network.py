"""The detector's transformer in torch, as it is trained; `lineage.detector_network` evaluates the same in numpy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax
from torch import nn
from torch.nn import functional

from benchmarks.train_detector_data import LabelledPairs
from lineage.detector_network import CLASSES, CLIP, EXCHANGED, HEADS, Weights, normalised

WIDTH, BLOCKS, HIDDEN = 32, 2, 64
TOKENS = 32  # layers of a pair in a step, drawn anew each time
BATCH = 256
CONTEXT_KEPT = 0.6  # share of examples that see the family; the others must answer for the two alone
DROPOUT = 0.1
# How often classes are drawn; what is stated as a probability holds for this mix, within each zoo's share.
MIX = {0: 0.12, 1: 0.225, 2: 0.225, 3: 0.13, 4: 0.06, 5: 0.06, 6: 0.025, 7: 0.025, 8: 0.13}


@dataclass(frozen=True)
class Examples:
    """Pairs of several zoos, padded to as many layers as the deepest has; features are scaled already."""

    token: torch.Tensor  # (n, t, even + odd) float32
    there: torch.Tensor  # (n, t) bool
    pair: torch.Tensor  # (n, even + context even + odd + context odd) float32
    label: torch.Tensor  # (n,) int64
    chance: torch.Tensor  # (n,) float64, of being drawn
    sizes: tuple[int, int, int, int, int]  # token even; pair even, context even, odd, context odd


class Block(nn.Module):
    """Pre-norm self-attention and a hidden layer."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.up, self.down = nn.Linear(WIDTH, HIDDEN), nn.Linear(HIDDEN, WIDTH)

    def forward(self, x: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
        """(n, t, WIDTH); `seen` (n, t) says which tokens are there."""
        n, t, _ = x.shape
        q, k, v = self.qkv(self.norm1(x)).reshape(n, t, 3, HEADS, -1).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=seen[:, None, None, :])
        x = x + _dropped(self.out(mixed.transpose(1, 2).reshape(n, t, WIDTH)), self.training)
        return x + _dropped(self.down(functional.relu(self.up(self.norm2(x)))), self.training)


class Detector(nn.Module):
    """f of `lineage.detector_network`, and the sum that makes it symmetric."""

    def __init__(self, tokens: int, pairs: int) -> None:
        super().__init__()
        self.token, self.pair = nn.Linear(tokens, WIDTH), nn.Linear(pairs, WIDTH)
        self.blocks = nn.ModuleList(Block() for _ in range(BLOCKS))
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH + pairs, len(CLASSES))

    def forward(
        self, token: torch.Tensor, there: torch.Tensor, pair: torch.Tensor, sizes: Sequence[int]
    ) -> torch.Tensor:
        """(n, classes) logits of pairs as they are given: symmetric, not calibrated."""
        flipped_token, flipped_pair = token.clone(), pair.clone()
        flipped_token[:, :, sizes[0] :] *= -1
        flipped_pair[:, sizes[1] + sizes[2] :] *= -1
        both = self._once(torch.cat([token, flipped_token]), torch.cat([there, there]), torch.cat([pair, flipped_pair]))
        forth, back = both.chunk(2)
        return forth + back[:, list(EXCHANGED)]

    def _once(self, token: torch.Tensor, there: torch.Tensor, pair: torch.Tensor) -> torch.Tensor:
        x = torch.cat([self.pair(pair)[:, None], self.token(token)], dim=1)
        seen = torch.cat([torch.ones_like(there[:, :1]), there], dim=1)
        for block in self.blocks:
            x = block(x, seen)
        return self.head(torch.cat([self.norm(x[:, 0]), pair], dim=1))  # type: ignore[no-any-return]  # a module returns anything


def _dropped(x: torch.Tensor, training: bool) -> torch.Tensor:
    return functional.dropout(x, DROPOUT, training)


def scales(zoos: Sequence[LabelledPairs]) -> Weights:
    """Means of even features and sizes of all, zoos counting alike; at least a thousandth, so that none explodes."""
    found: Weights = {}
    parts = {
        "token_even": [zoo.features.even[zoo.features.there] for zoo in zoos],
        "token_odd": [zoo.features.odd[zoo.features.there] for zoo in zoos],
        "pair_even": [np.concatenate([z.features.pair_even, z.features.context_even], axis=1) for z in zoos],
        "pair_odd": [np.concatenate([z.features.pair_odd, z.features.context_odd], axis=1) for z in zoos],
    }
    for name, values in parts.items():
        mean = np.mean([one.mean(axis=0) for one in values], axis=0)
        square = np.mean([(one**2).mean(axis=0) for one in values], axis=0)
        if name.endswith("even"):
            found[f"{name}.mean"] = mean
            square = square - mean**2
        found[f"{name}.scale"] = np.sqrt(np.maximum(square, 1e-6))
    return found


def examples(zoos: Sequence[LabelledPairs], rows: Sequence[NDArray[np.intp]], scale: Weights) -> Examples:
    """The chosen rows of each zoo's pairs."""
    deepest = max(zoo.features.even.shape[1] for zoo in zoos)
    tokens, theres, pairs, labels, chances = [], [], [], [], []
    architectures = [zoo.architecture for zoo in zoos]
    for zoo, chosen in zip(zoos, rows, strict=True):
        if not len(chosen):
            continue
        part = zoo.features.take(chosen)
        even, odd, pair_even, pair_odd = normalised(scale, part)
        missing = ((0, 0), (0, deepest - even.shape[1]), (0, 0))
        tokens.append(np.pad(np.concatenate([even, odd], axis=2), missing).astype(np.float32))
        theres.append(np.pad(part.there, missing[:2]))
        pairs.append(np.concatenate([pair_even, pair_odd], axis=1).astype(np.float32))
        label = zoo.label[chosen]
        labels.append(label)
        # Zoos of one architecture share its weight in part: a few of a rare one count as many of a common one.
        chances.append(np.full(len(label), architectures.count(zoo.architecture) ** -0.5 / len(label)))
    label, chance = np.concatenate(labels), np.concatenate(chances)
    for kind, share in MIX.items():
        here = label == kind
        chance[here] *= share / max(chance[here].sum(), 1e-30)
    last = part
    sizes = (
        last.even.shape[2],
        *(one.shape[1] for one in (last.pair_even, last.context_even, last.pair_odd, last.context_odd)),
    )
    return Examples(
        torch.from_numpy(np.concatenate(tokens)),
        torch.from_numpy(np.concatenate(theres)),
        torch.from_numpy(np.concatenate(pairs)),
        torch.from_numpy(label),
        torch.from_numpy(chance / chance.sum()),
        sizes,
    )


def without_context(pair: torch.Tensor, sizes: Sequence[int], scale: Weights, alone: torch.Tensor) -> torch.Tensor:
    """The pair features as they are where the family is not known: zeros, which scaling has moved."""
    even, context = sizes[1], sizes[2]
    nothing = -scale["pair_even.mean"][even:] / scale["pair_even.scale"][even:]
    empty = pair.clone()
    empty[:, even : even + context] = torch.from_numpy(np.clip(nothing, -CLIP, CLIP).astype(np.float32))
    empty[:, even + context + sizes[3] :] = 0
    return torch.where(alone[:, None], empty, pair)


def train(data: Examples, scale: Weights, steps: int, seed: int) -> Detector:
    """A detector trained on examples drawn by their chance, each with some of its layers."""
    torch.manual_seed(seed)
    net = Detector(data.token.shape[2], data.pair.shape[1])
    optimiser = torch.optim.AdamW(net.parameters(), lr=3e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, total_steps=steps, pct_start=0.1)
    for _ in range(steps):
        rows = torch.multinomial(data.chance, BATCH, replacement=True)
        there = data.there[rows]
        order = (torch.rand(there.shape) + there).topk(min(TOKENS, there.shape[1]), dim=1).indices
        token = data.token[rows].gather(1, order[:, :, None].expand(-1, -1, data.token.shape[2]))
        pair = without_context(data.pair[rows], data.sizes, scale, torch.rand(BATCH) > CONTEXT_KEPT)
        logits = net(token, there.gather(1, order), pair, data.sizes)
        loss = functional.cross_entropy(logits, data.label[rows], label_smoothing=0.02)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # of torch
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        schedule.step()
    return net.eval()


@torch.no_grad()
def logits_of(net: Detector, data: Examples, scale: Weights, *, alone: bool) -> NDArray[np.float64]:
    """Of all examples, with all their layers: not calibrated."""
    found = []
    for first in range(0, len(data.label), BATCH):
        here = slice(first, first + BATCH)
        pair = data.pair[here]
        pair = without_context(pair, data.sizes, scale, torch.full((len(pair),), alone))
        found.append(net(data.token[here], data.there[here], pair, data.sizes))
    return torch.cat(found).double().numpy()


def temperatures(logits: NDArray[np.float64], data: Examples) -> NDArray[np.float64]:
    """(2,) what divides the even and the odd part of the logits so that known relations are likeliest."""
    other = logits[:, list(EXCHANGED)]
    even, odd = (logits + other) / 2, (logits - other) / 2
    label, weight = data.label.numpy(), data.chance.numpy()

    def loss(log: NDArray[np.float64]) -> float:
        likely = log_softmax(even / np.exp(log[0]) + odd / np.exp(log[1]), axis=1)
        return float(-weight @ likely[np.arange(len(label)), label])

    return np.exp(minimize(loss, np.zeros(2), method="Nelder-Mead", bounds=[(-1, 3)] * 2).x)


def weights_of(net: Detector, scale: Weights, temperature: NDArray[np.float64]) -> Weights:
    """All that evaluation needs, by the names that it uses."""
    learnt = {name: value.double().numpy() for name, value in net.state_dict().items()}
    return {**learnt, **scale, "temperature": temperature}
