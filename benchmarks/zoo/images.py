"""Procedural image tasks: each kind draws labelled pictures of 16 x 16 pixels or of any other size.

A kind is a function of the class of each picture, a generator for its accidents (position, phase, size) and a
generator fixed by the task's variant, and gives masks in [0, 1]; colours, contrast and noise are common to all kinds.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from benchmarks.zoo.spec import Task, seed_of

if TYPE_CHECKING:
    from collections.abc import Callable

    Mask = Callable[[Tensor, int, int, torch.Generator, torch.Generator], Tensor]

FONT = (
    "01110100011001110101110011000101110",
    "00100011000010000100001000010001110",
    "01110100010000100010001000100011111",
    "11111000100010000010000011000101110",
    "00010001100101010010111110001000010",
    "11111100001111000001000011000101110",
    "00110010001000011110100011000101110",
    "11111000010001000100010000100001000",
    "01110100011000101110100011000101110",
    "01110100011000101111000010001001100",
)


def grid(size: int) -> tuple[Tensor, Tensor]:
    """Column and row coordinates of the pixels' centres, (size, size) each, from -1 to 1."""
    axis = (torch.arange(size) + 0.5) * 2 / size - 1
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    return x, y


def uniform(count: int, low: float, high: float, accidents: torch.Generator) -> Tensor:
    """`count` numbers shaped to broadcast over pictures, (count, 1, 1)."""
    return low + (high - low) * torch.rand(count, 1, 1, generator=accidents)


def gratings(label: Tensor, classes: int, size: int, accidents: torch.Generator, variant: torch.Generator) -> Tensor:
    """Sine gratings: the class is the orientation and one of two frequencies."""
    x, y = grid(size)
    turn = torch.rand(1, generator=variant) * math.pi
    angles = (classes + 1) // 2
    angle = turn + math.pi * (label % angles).view(-1, 1, 1) / angles
    frequency = torch.where(label.view(-1, 1, 1) < angles, 4.5, 9.0)
    phase = uniform(len(label), 0, 2 * math.pi, accidents)
    return 0.5 + 0.5 * torch.sin(frequency * (x * torch.cos(angle) + y * torch.sin(angle)) + phase)


def shapes(label: Tensor, classes: int, size: int, accidents: torch.Generator, variant: torch.Generator) -> Tensor:
    """Outlined and filled figures of any place and size; the variant chooses which figures are the classes."""
    x, y = grid(size)
    scale = uniform(len(label), 0.45, 0.75, accidents)
    u = (x - uniform(len(label), -0.3, 0.3, accidents)) / scale
    v = (y - uniform(len(label), -0.3, 0.3, accidents)) / scale
    radius, square, diamond = (u * u + v * v).sqrt(), torch.maximum(u.abs(), v.abs()), u.abs() + v.abs()
    triangle = torch.maximum(v - 0.8, 1.2 * u.abs() - 0.5 * v - 0.5)
    plus = torch.maximum(square - 1, torch.minimum(u.abs(), v.abs()) - 0.25)
    times = torch.maximum(square - 1, torch.minimum((u - v).abs(), (u + v).abs()) - 0.35)
    inside = torch.stack(
        [
            radius - 1,
            square - 0.85,
            triangle,
            plus,
            (radius - 0.8).abs() - 0.2,
            times,
            (diamond - 0.9).abs() - 0.25,
            torch.maximum(u.abs() - 1, v.abs() - 0.3),
            torch.maximum(u.abs() - 0.3, v.abs() - 1),
            torch.maximum(radius - 1, v),
        ],
        dim=1,
    )
    chosen = torch.randperm(inside.shape[1], generator=variant)[:classes]
    figure = inside[torch.arange(len(label)), chosen[label]]
    return torch.sigmoid(-12 * figure)


def textures(label: Tensor, classes: int, size: int, accidents: torch.Generator, variant: torch.Generator) -> Tensor:
    """Periodic patterns of 8 x 8 pixels drawn by the variant, shifted at random."""
    tile = (torch.rand(classes, 8, 8, generator=variant) > 0.5).float()
    rows = (torch.arange(size) + torch.randint(8, (len(label), 1), generator=accidents)) % 8
    columns = (torch.arange(size) + torch.randint(8, (len(label), 1), generator=accidents)) % 8
    return tile[label.view(-1, 1, 1), rows.unsqueeze(2), columns.unsqueeze(1)]


def fields(label: Tensor, classes: int, size: int, accidents: torch.Generator, variant: torch.Generator) -> Tensor:
    """Smooth random fields, one per class, slightly shifted and stretched in contrast."""
    coarse = torch.randn(classes, 1, 5, 5, generator=variant)
    smooth = torch.nn.functional.interpolate(coarse, size=(size + 4, size + 4), mode="bicubic").squeeze(1)
    rows = torch.arange(size) + torch.randint(5, (len(label), 1), generator=accidents)
    columns = torch.arange(size) + torch.randint(5, (len(label), 1), generator=accidents)
    field = smooth[label.view(-1, 1, 1), rows.unsqueeze(2), columns.unsqueeze(1)]
    return torch.sigmoid(uniform(len(label), 1.0, 2.5, accidents) * field)


def digits(label: Tensor, classes: int, size: int, accidents: torch.Generator, variant: torch.Generator) -> Tensor:
    """Digits of a 5 x 7 font, two pixels a dot, anywhere in the picture; the variant renames them."""
    font = torch.tensor([[float(dot) for dot in glyph] for glyph in FONT]).view(-1, 7, 5)
    glyphs = font[torch.randperm(len(FONT), generator=variant)[:classes]]
    thick = glyphs.repeat_interleave(2, 1).repeat_interleave(2, 2)
    canvas = torch.zeros(classes, 3 * size, 3 * size)
    canvas[:, size : size + 14, size : size + 10] = thick
    rows = torch.arange(size) + size - torch.randint(0, max(1, size - 13), (len(label), 1), generator=accidents)
    columns = torch.arange(size) + size - torch.randint(0, max(1, size - 9), (len(label), 1), generator=accidents)
    return canvas[label.view(-1, 1, 1), rows.unsqueeze(2), columns.unsqueeze(1)]


def blobs(label: Tensor, classes: int, size: int, accidents: torch.Generator, variant: torch.Generator) -> Tensor:
    """Round spots: the class is how many; the variant sets their width."""
    x, y = grid(size)
    width = 0.11 + 0.05 * float(torch.rand(1, generator=variant))
    cells = torch.rand(len(label), 16, generator=accidents).argsort(dim=1)[:, :classes]
    jitter = 0.08 * torch.randn(len(label), classes, 2, generator=accidents)
    centre_x = (cells % 4 - 1.5) * 0.5 + jitter[..., 0]
    centre_y = (cells // 4 - 1.5) * 0.5 + jitter[..., 1]
    square = (x - centre_x[..., None, None]) ** 2 + (y - centre_y[..., None, None]) ** 2
    present = (torch.arange(classes) <= label.view(-1, 1)).float()
    return (torch.exp(-square / (2 * width**2)) * present[..., None, None]).sum(1).clamp(max=1)


def ramps(label: Tensor, classes: int, size: int, accidents: torch.Generator, variant: torch.Generator) -> Tensor:
    """Slopes of brightness: the class is the direction, the variant turns all of them."""
    x, y = grid(size)
    turn = torch.rand(1, generator=variant) * 2 * math.pi
    angle = turn + 2 * math.pi * label.view(-1, 1, 1) / classes + uniform(len(label), -0.15, 0.15, accidents)
    steepness = uniform(len(label), 1.0, 2.5, accidents)
    offset = uniform(len(label), -0.4, 0.4, accidents)
    return torch.sigmoid(steepness * (x * torch.cos(angle) + y * torch.sin(angle)) + offset)


KINDS: dict[str, Mask] = {
    "gratings": gratings,
    "shapes": shapes,
    "textures": textures,
    "fields": fields,
    "digits": digits,
    "blobs": blobs,
    "ramps": ramps,
}


def draw(task: Task, count: int, size: int, channels: int, seed: int) -> tuple[Tensor, Tensor]:
    """`count` pictures, float32 (count, channels, size, size) of about unit variance, and their classes, int64."""
    accidents = torch.Generator().manual_seed(seed)
    label = torch.randint(task.labels, (count,), generator=accidents)
    mask = torch.empty(count, size, size)
    for place, kind in enumerate(task.kinds):
        own = (label // task.classes == place).nonzero().squeeze(1)
        variant = torch.Generator().manual_seed(seed_of("image task", kind, task.variant))
        mask[own] = KINDS[kind](label[own] % task.classes, task.classes, size, accidents, variant)
    ground, ink = torch.rand(2, count, channels, 1, 1, generator=accidents)
    away = torch.where(ink > ground, 1.0, -1.0)
    ink = ground + away * (0.45 + 0.55 * (ink - ground).abs())
    picture = ground + (ink - ground) * mask.unsqueeze(1)
    picture += task.noise * torch.randn(picture.shape, generator=accidents)
    return (picture - 0.5) * 2, label


def examples(task: Task, count: int, size: int, channels: int, seed: int) -> tuple[Tensor, Tensor]:
    """`count` pictures and what the task's objective asks of them.

    Targets: classes, int64 (count,); quarters of a turn, int64 (count,); or the grey picture of 4 x 4 pixels that is
    left of it without its noise, float32 (count, 16).
    """
    if task.objective == "labels":
        return draw(task, count, size, channels, seed)
    content = replace(task, objective="labels")
    picture, _ = draw(content, count, size, channels, seed)
    if task.objective == "rotation":
        quarters = torch.randint(4, (count,), generator=torch.Generator().manual_seed(seed_of(seed, "quarters")))
        turned = torch.stack([torch.rot90(one, int(turn), (1, 2)) for one, turn in zip(picture, quarters, strict=True)])
        return turned, quarters
    clean, _ = draw(replace(content, noise=0.0), count, size, channels, seed)
    return picture, torch.nn.functional.adaptive_avg_pool2d(clean.mean(1, keepdim=True), 4).flatten(1)
