"""The tasks that the zoo's networks learn."""

from __future__ import annotations

import pytest
import torch

from benchmarks.zoo import images, texts
from benchmarks.zoo.spec import Task


@pytest.mark.parametrize("kind", sorted(images.KINDS))
def test_pictures_are_finite_repeatable_and_of_every_class(kind: str) -> None:
    task = Task((kind,), 5, variant=7)
    picture, label = images.draw(task, 96, 16, 3, seed=1)
    assert picture.shape == (96, 3, 16, 16)
    assert picture.isfinite().all()
    assert set(label.tolist()) == set(range(5))
    again, same = images.draw(task, 96, 16, 3, seed=1)
    assert torch.equal(picture, again)
    assert torch.equal(label, same)
    assert not torch.equal(picture, images.draw(task, 96, 16, 3, seed=2)[0])


@pytest.mark.parametrize("kind", sorted(set(images.KINDS) - {"blobs"}))
def test_the_variant_of_an_image_task_changes_what_its_classes_are(kind: str) -> None:
    one, other = (images.draw(Task((kind,), 5, variant, noise=0.0), 64, 16, 3, seed=1)[0] for variant in (1, 2))
    assert not torch.allclose(one, other)


def test_a_mixture_has_the_classes_of_all_its_kinds() -> None:
    _, label = images.draw(Task(("ramps", "blobs"), 3), 128, 16, 3, seed=1)
    assert set(label.tolist()) == set(range(6))


@pytest.mark.parametrize("kind", sorted(texts.KINDS))
def test_texts_are_repeatable_windows_of_the_alphabet(kind: str) -> None:
    task = Task((kind,), variant=7)
    windows = texts.write(task, 20, 17, seed=1)
    assert windows.shape == (20, 17)
    assert 0 <= int(windows.min()) <= int(windows.max()) < len(texts.ALPHABET)
    assert torch.equal(windows, texts.write(task, 20, 17, seed=1))
    assert not torch.equal(windows, texts.write(Task((kind,), variant=8), 20, 17, seed=1))


def test_brackets_are_balanced() -> None:
    windows = texts.write(Task(("brackets",), variant=3), 200, 20, seed=1)
    lines = "".join(texts.ALPHABET[place] for place in windows.flatten().tolist()).split("\n")[:-1]
    partner = {")": "(", "]": "[", "}": "{", ">": "<"}
    for line in lines:
        opened: list[str] = []
        for character in line:
            if character in partner:
                assert opened.pop() == partner[character]
            elif character in partner.values():
                opened.append(character)
        assert not opened


def test_the_alphabet_has_64_characters_each_once() -> None:
    assert len(set(texts.ALPHABET)) == len(texts.ALPHABET) == 64
