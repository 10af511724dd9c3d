"""Pictures show what they are given."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from ppl_gen import History, plot, zoo


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


@pytest.fixture
def model():
    return zoo.vae((1, 4, 4), 3, hidden=8)


def test_images_fill_a_grid_row_by_row():
    pictures = torch.arange(5.0).reshape(5, 1, 1, 1).expand(5, 1, 4, 6) / 5
    ax = plot.images(pictures, columns=3)
    canvas = np.asarray(ax.get_images()[0].get_array())
    assert canvas.shape == (2 * 5 - 1, 3 * 7 - 1)
    for index in range(5):
        row, column = divmod(index, 3)
        block = canvas[row * 5 : row * 5 + 4, column * 7 : column * 7 + 6]
        assert np.allclose(block, index / 5)
    assert np.allclose(canvas[5:, 14:], 1.0)
    with pytest.raises(ValueError, match=r"\(N, 1 or 3, H, W\), got \(5, 2, 4, 4\)"):
        plot.images(torch.zeros(5, 2, 4, 4))


def test_pictures_of_a_model(model):
    x = torch.rand(6, 1, 4, 4)
    _, axes = plt.subplots(2, 2)
    assert plot.samples(model, 9, axes[0, 0]) is axes[0, 0]
    assert plot.reconstructions(model, x, ax=axes[0, 1]) is axes[0, 1]
    top = np.asarray(axes[0, 1].get_images()[0].get_array())[:4, :4]
    assert np.allclose(top, x[0, 0].numpy())
    plot.traversal(model, x[:1], ax=axes[1, 0])
    assert axes[1, 0].get_images()[0].get_array().shape == (3 * 5 - 1, 7 * 5 - 1)
    ax = plot.latent_map(model, x, torch.tensor([0, 0, 1, 1, 2, 2]), axes[1, 1])
    points = np.concatenate([c.get_offsets() for c in ax.collections])
    dims = [int(label.split("[")[1][0]) for label in (ax.get_xlabel(), ax.get_ylabel())]
    assert np.allclose(points, model.code(x).detach()[:, dims].numpy())
    with pytest.raises(ValueError, match="one image to start from, got 6"):
        plot.traversal(model, x)
    with pytest.raises(ValueError, match="two dimensions or more, got 1"):
        plot.latent_map(zoo.vae((1, 4, 4), 1, hidden=8), x)


@pytest.mark.parametrize("name", ["vq_vae", "gumbel_vae"])
def test_a_traversal_has_a_row_for_every_discrete_variable(name):
    model = zoo.registry[name].build((1, 4, 4), 3, hidden=8)
    ax = plot.traversal(model, torch.rand(1, 1, 4, 4), values=(0, 1))
    assert ax.get_images()[0].get_array().shape == (3 * 5 - 1, 2 * 5 - 1)


def test_pictures_of_a_conditional_model():
    model = zoo.conditional_vae((1, 4, 4), 3, hidden=8, num_classes=4)
    x, y = torch.rand(6, 1, 4, 4), torch.arange(6) % 4
    for ax in (plot.samples(model, 6), plot.reconstructions(model, x[:3], y[:3])):
        assert ax.get_images()[0].get_array().shape == (2 * 5 - 1, 3 * 5 - 1)
    plot.traversal(model, x[:1], y=y[:1])
    assert len(plot.latent_map(model, x, y).collections) == 4
    for draw in (plot.traversal, plot.latent_map):
        with pytest.raises(ValueError, match="labels below 4 for y, got none"):
            draw(model, x[:1])


def test_labels_of_a_map_must_match_the_images(model):
    x = torch.rand(6, 1, 4, 4)
    with pytest.raises(ValueError, match="6 labels, one for each image, got 3"):
        plot.latent_map(model, x, torch.arange(3))
    plot.latent_map(model, x[:1])


def test_curves_show_the_terms_and_skip_gaps():
    history = History()
    for step in range(100):
        history.record({"loss": 5.0, "elbo": -float(step), "kl": float("inf")})
    history.amend({"val_elbo": -3.0})
    ax = history.plot()
    labels = [line.get_label() for line in ax.get_lines()]
    assert "elbo" in labels
    assert "val_elbo" in labels
    assert "loss" not in labels
    smooth = next(line for line in ax.get_lines() if line.get_label() == "elbo")
    assert np.allclose(smooth.get_ydata(), -np.arange(0.5, 99))
    assert history.plot(names=["loss"]).get_ylabel() == "loss"
