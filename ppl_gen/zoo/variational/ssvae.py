from __future__ import annotations

from typing import Any, Unpack

from ppl_gen import likelihoods, networks
from ppl_gen._checks import is_whole, require_shape
from ppl_gen.likelihoods.base import encoded
from ppl_gen.likelihoods.pixels import Likelihood
from ppl_gen.models.partial_labels import (
    CLASS,
    MarginalELBO,
    OneHot,
    PartlyLabelledVAE,
    UniformClass,
)
from ppl_gen.models.vae import VAE, Latent
from ppl_gen.networks import Shape, Widths
from ppl_gen.zoo.entries import named
from ppl_gen.zoo.parts import LabelParts
from ppl_gen.zoo.variational.vae import vae


@named("Kingma et al., Semi-supervised Learning with Deep Generative Models", 2014)
def ssvae(
    data_shape: Shape = (1, 28, 28),
    latent_dim: int = 10,
    *,
    num_classes: int | None = None,
    alpha: float = 1.0,
    hidden: Widths = 400,
    network: str = "mlp",
    likelihood: str | tuple | list | Likelihood = "bernoulli",
    **parts: Unpack[LabelParts],
) -> VAE:
    r"""The VAE that learns classes from labels partly missing (M2), :math:`p(y) p(z) p(x|y, z)`.

    With :math:`\mathcal{L}(x, y) = \log p(y) + E_{q(z|x, y)} \log p(x|y, z) - KL(q(z|x,y) \| p(z))`
    the objective is the sum of :math:`\mathcal{L}(x, y) + \alpha \log q(y|x)` over labelled data
    and of :math:`\sum_y q(y|x) [\mathcal{L}(x, y) - \log q(y|x)]` over the others: a missing class
    is summed out, never drawn. Stock ``TraceEnum_ELBO`` does the same with
    ``config_enumerate(model.guide, "parallel")``.

    Args:
        data_shape: the shape of a datum.
        latent_dim: ``Z``.
        num_classes: ``K``, at least two; by default the number of ``classes``, or 10.
        alpha: :math:`\alpha` of a labelled datum; the paper's is a tenth of the number of all data
            over that of the labelled.
        hidden: the width, or widths, of the hidden layers.
        network: ``"mlp"`` or ``"conv"``.
        likelihood: see :func:`ppl_gen.zoo.vae`.
        parts: see :mod:`ppl_gen.zoo`; not ``num_covariates``. Another objective may draw the
            classes.

    Returns:
        A :class:`ppl_gen.models.partial_labels.PartlyLabelledVAE`; its ``classify(x)`` is
        :math:`q(y|x)`.

    Raises:
        ValueError: fewer than two classes, a negative ``alpha``, or covariates.

    >>> model = ppl_gen.zoo.ssvae((4,), 2, classes=("cat", "dog"), likelihood="gaussian", hidden=8)
    >>> x, y = torch.zeros(3, 4), torch.tensor([0, 1, -1])
    >>> ppl_gen.fit(model, (x, y), epochs=2, staged=False, progress=False).steps
    2
    >>> model.classify(x).shape
    torch.Size([3, 2])
    """
    classes = parts.get("classes")
    if num_classes is None:
        num_classes = len(classes) if classes else 10
    if not is_whole(num_classes, 2):
        raise ValueError(f"expected at least two classes, got {num_classes}")
    if not alpha >= 0:
        raise ValueError(f"expected alpha >= 0, got {alpha}")
    if parts.get("num_covariates"):
        raise ValueError("expected no covariates with partly missing labels, got num_covariates")
    shape = require_shape(data_shape)
    likelihood = likelihoods.serving(likelihood, shape, show_mask="encoder" not in parts)
    parts["objective"] = parts.get("objective") or MarginalELBO(num_classes)
    shared: dict[str, Any] = {"hidden": hidden, "network": network, "likelihood": likelihood}
    base = vae(shape, latent_dim, num_classes=num_classes, **shared, **parts)
    seen = likelihood.features_shape(shape)
    classifier = encoded(likelihood, networks.encoder(network, [seen], hidden, (num_classes,)))
    latents = [Latent(CLASS, UniformClass(num_classes), classifier, OneHot()), *base.latents]
    given = (base.objective, num_classes, 0, classes)
    return PartlyLabelledVAE(latents, base.decoder, likelihood, shape, *given, alpha=alpha)
