"""Stacked digits: what they are made of, and the count of their modes."""

import math

import pytest
import torch

from ppl_gen import data, metrics


def test_channels_are_digits_and_labels_their_figures():
    train, test = data.stacked_mnist(size=300, seed=3)
    digits = data.mnist(seed=3)
    for stacked, of in ((train, digits.train), (test, digits.test)):
        known = {
            image.numpy().tobytes(): int(label)
            for image, label in zip(of.images, of.labels, strict=True)
        }
        for image, label in zip(stacked.images[:60], stacked.labels[:60], strict=True):
            figures = [known[channel.numpy().tobytes()] for channel in image]
            assert 100 * figures[0] + 10 * figures[1] + figures[2] == label
    assert (len(train), len(test)) == (300, len(digits.test))
    again = data.stacked_mnist(size=300, seed=3).train.images
    assert torch.equal(train.images, again)
    assert not torch.equal(again, data.stacked_mnist(size=300, seed=4).train.images)


def test_modes_of_the_data_are_those_of_chance_and_misreading():
    train = data.stacked_mnist(size=3000).train
    found = metrics.stacked_modes(train)
    assert len(train.labels.unique()) == pytest.approx(found.modes, abs=25)
    assert found.modes == pytest.approx(1000 * (1 - math.exp(-3)), abs=25)
    assert 0.02 < found.misread < 0.12
    few = metrics.stacked_modes(train.images[train.labels < 100])
    assert few.kl > 2  # log 10 where nothing is misread
    one = metrics.stacked_modes(train.images[:1].repeat(9, 1, 1, 1))
    assert (one.modes, one.num_samples) == (1, 9)
    assert one.kl == pytest.approx(math.log(1000))


def test_the_share_of_misread_triples_is_about_what_is_stated():
    test = data.stacked_mnist().test
    classifier = metrics.features.digit_classifier()
    read = classifier.logits(test.images.flatten(0, 1)[:, None]).argmax(1).view(-1, 3)
    wrong = (read @ torch.tensor([100, 10, 1]) != test.labels).double().mean().item()
    assert wrong == pytest.approx(metrics.stacked_modes(test).misread, abs=0.03)


def test_what_is_no_stack_is_refused():
    with pytest.raises(ValueError, match="one image or more, got 0"):
        data.stacked_mnist(size=0)
    with pytest.raises(ValueError, match=r"\(3, 28, 28\) of three digits, got \(1, 28, 28\)"):
        metrics.stacked_modes(torch.zeros(5, 1, 28, 28))
    with pytest.raises(ValueError, match="at least two stacked images, got 1"):
        metrics.stacked_modes(torch.zeros(1, 3, 28, 28))
