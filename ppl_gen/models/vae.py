r"""Variational autoencoders as Pyro model/guide pairs, assembled from parts.

The model draws the latents in order and then the image,

.. math::

    p(x, z_1, \dots, z_L) = p(x \mid z_L) \prod_l p(z_l \mid z_{<l}), \qquad
    q(z \mid x) = \prod_l q(z_l \mid x, z_{<l})

(Kingma and Welling 2014; Rezende et al. 2014). One latent with a normal prior is the plain VAE;
each named variant of :mod:`ppl_gen.zoo` exchanges a part. A conditional model knows a condition y
everywhere, a label, covariates or both: as a vector, one-hot for a label, it is the first of the
parents, and the decoder's second input.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import pyro
import torch
from pyro.distributions import TorchDistribution
from torch import Tensor, nn
from torch.distributions import Distribution

from ppl_gen._checks import is_whole
from ppl_gen._modes import evaluating, is_readable, seeded, validation
from ppl_gen._store import register
from ppl_gen.distributions.point import DeltaWithLosses
from ppl_gen.likelihoods.base import Likelihood
from ppl_gen.models.base import GenerativeModel
from ppl_gen.networks import Shape
from ppl_gen.objectives.elbo import ELBO, Objective, loss_function
from ppl_gen.posteriors import Family

if TYPE_CHECKING:
    pass


class Latent(nn.Module):
    """One latent site: its prior, and the encoder and family of its posterior.

    Args:
        name: the site's name.
        prior: ``prior(*parents)`` is :math:`p(z_l | z_{<l})`.
        encoder: ``encoder(x, *parents)`` gives the parameters of the posterior.
        family: turns those parameters into :math:`q(z_l | x, z_{<l})`; what it returns may carry a
            dictionary ``auxiliary`` of losses, which the guide declares.

    The parents are the condition, if there is one, and the latents above.

    >>> family, prior = ppl_gen.posteriors.DiagonalNormal(), ppl_gen.priors.StandardNormal(2)
    >>> latent = ppl_gen.Latent("z", prior, torch.nn.Linear(4, 4), family)
    >>> q = latent.posterior(torch.zeros(5, 4))
    >>> q.batch_shape, q.event_shape
    (torch.Size([5]), torch.Size([2]))
    """

    def __init__(self, name: str, prior: nn.Module, encoder: nn.Module, family: Family):
        super().__init__()
        self.name, self.prior, self.encoder, self.family = name, prior, encoder, family

    def posterior(self, x: Tensor, *parents: Tensor) -> TorchDistribution:
        """The posterior of this site for images ``x``, given the sites above."""
        return self.family(self.encoder(x, *parents))


class VAE(GenerativeModel):
    """A Pyro model/guide pair over data of any shape: images, or the rows of a table.

    Args:
        latents: the latent sites, from the top of the hierarchy down.
        decoder: maps the last latent (and the label) to the parameters of the likelihood.
        likelihood: the family of :math:`p(x | z)`.
        data_shape: the shape of a datum, ``(C, H, W)`` for images and ``(D,)`` for tables.
        objective: what training minimises; the ELBO by default.
        num_classes: the number of labels of a conditional model, 0 for none.
        num_covariates: the number of covariates it is given, 0 for none.
        classes: the names of its classes, by which labels may then be given; :func:`ppl_gen.fit`
            learns them from data that have them.

    Every method that takes data takes a condition ``y`` as well, which a conditional model needs:
    labels ``(B,)``, covariates ``(B, C)``, or a pair of both. The programs take that pair as one
    tensor, see :meth:`condition_of`. ``ValueError`` says so, and when data have the wrong shape or
    labels are unknown. The programs run in the mode of the module, all other methods in evaluation
    mode. They take whatever :func:`ppl_gen.fit` does, all of it at once.

    The representation is one line; ``torch.nn.Module.__repr__(vae)`` is the tree of modules.

    >>> from ppl_gen import likelihoods, posteriors, priors
    >>> family, prior = posteriors.DiagonalNormal(), priors.StandardNormal(2)
    >>> latent = ppl_gen.Latent("z", prior, torch.nn.Linear(4, 4), family)
    >>> vae = ppl_gen.VAE([latent], torch.nn.Linear(2, 4), likelihoods.Gaussian(), (4,))
    >>> vae.sample(3, seed=0).shape
    torch.Size([3, 4])
    >>> vae.encode(torch.zeros(5, 4)).event_shape
    torch.Size([2])
    """

    observed = "x"  # the site of the data

    def __init__(
        self,
        latents: Sequence[Latent],
        decoder: nn.Module,
        likelihood: Likelihood,
        data_shape: Shape,
        objective: Objective | None = None,
        num_classes: int = 0,
        num_covariates: int = 0,
        classes: Sequence[str] | None = None,
    ):
        super().__init__(data_shape, num_classes, num_covariates, classes)
        self.latents = cast(Sequence[Latent], nn.ModuleList(latents))
        self.decoder, self.likelihood = decoder, likelihood
        self.objective = ELBO() if objective is None else objective
        likelihood.serve(self.data_shape)

    def __repr__(self) -> str:
        name = (self.recipe and self.recipe.name) or type(self).__name__
        sites = ", ".join(f"{latent.name} ~ {_kind(latent.prior)}" for latent in self.latents)
        given = f" given {self.condition}" if self.condition.size else ""
        what = "images" if len(self.data_shape) == 3 else "data"
        weight = getattr(self.objective, "weight", None)
        objective = _kind(self.objective) + (f"(weight={weight})" if weight is not None else "")
        return (
            f"<{name}: {what} {'×'.join(map(str, self.data_shape))}{given}, {sites}, "
            f"{self.likelihood.kind} likelihood, {objective}, "
            f"{sum(p.numel() for p in self.parameters()):,} parameters>"
        )

    # --- The programs ---------------------------------------------------------------------------

    def model(self, x: Tensor | None = None, y: Tensor | None = None, size: int = 1) -> Tensor:
        """The generative program; observes ``x`` of shape ``(B, *data_shape)``, or draws ``size``.

        ``y`` is a tensor ``(B, ...)``, see :meth:`condition_of`.
        """
        register(self)
        size = size if x is None else self._require_shape(x).shape[0]
        label = self.condition_inputs(y, size)
        with self._plate(size):
            above = list(label)
            for latent in self.latents:
                above.append(pyro.sample(latent.name, latent.prior(*above)))
            return pyro.sample(
                self.observed, self.likelihood(self.decoder(above[-1], *label)), obs=x
            )

    def guide(self, x: Tensor, y: Tensor | None = None, size: int = 1) -> None:
        """The inference program for data ``x`` of shape ``(B, *data_shape)``."""
        register(self)
        size = self._require_shape(x).shape[0]
        above = self.condition_inputs(y, size)
        with self._plate(size):
            for latent in self.latents:
                q = latent.posterior(x, *above)
                above.append(pyro.sample(latent.name, q))
                if isinstance(q, DeltaWithLosses):
                    for name, loss in q.losses.items():
                        pyro.factor(f"{latent.name}_{name}", loss, has_rsample=True)

    def _plate(self, size: int) -> pyro.plate:
        """The plate of all data; unless told which, Pyro would draw them at every step."""
        indices: Any = range(size)
        return pyro.plate("data", size, subsample=indices, dim=-1)

    # --- The pieces -----------------------------------------------------------------------------

    def encode(self, x: Any, y: Any = None) -> Distribution:
        """The posterior of the latent that :meth:`decode` reads, batch ``(B,)``, event ``(Z,)``.

        In a hierarchy it is given the posterior means of the latents above. It can be
        differentiated, in evaluation mode; in training mode the latents' own ``posterior`` can.
        """
        x, y = self._read(x, y)
        with evaluating(self), validation(x):
            return self._posteriors(x, y)[-1]

    def _posteriors(self, x: Tensor, y: Any) -> list[TorchDistribution]:
        """The posterior of every latent, given the means of those above."""
        self.check(x)
        y = self.condition.tensor(y)
        self.check_labels(y, x.shape[0])
        above, found = self.condition_inputs(y), []
        for latent in self.latents:
            found.append(latent.posterior(x, *above))
            above.append(found[-1].mean)
        return found

    def decode(self, z: Tensor, y: Any = None) -> Distribution:
        """The likelihood :math:`p(x | z)` of ``z`` with shape ``(..., Z)``; event ``data_shape``.

        Labels are broadcast against the codes, such as one code with each of several labels. It
        can be differentiated, in evaluation mode.
        """
        dtype = self.like.dtype
        if not isinstance(z, Tensor) or z.dtype != dtype:
            got = z.dtype if isinstance(z, Tensor) else type(z).__name__
            raise ValueError(f"expected codes as a {dtype} tensor, like the weights, got {got}")
        y = self.condition.tensor(y)
        self.check_labels(y)
        label = self.condition_inputs(y)
        batch = z.shape[: z.dim() - len(self.latents[-1].family.code_shape(1))]
        if label and batch:
            codes, given = batch[-1], label[0].shape[0]
            if 1 not in (codes, given) and codes != given:
                raise ValueError(f"expected labels for {codes} codes, got {given}")
        with evaluating(self), validation(z):
            return self.likelihood(self.decoder(z, *label))

    @torch.no_grad()
    def code(self, x: Any, y: Any = None) -> Tensor:
        """The last latent when every latent is at its posterior mean, ``(B, Z)``.

        Without gradients, which ``encode(x).mean`` has. See :func:`ppl_gen.embed` for data that do
        not fit into memory at once.
        """
        x, y = self._read(x, y)
        return self.encode(x, y).mean

    def _read(self, x: Any, y: Any) -> tuple[Any, Any]:
        """All data and their condition as tensors."""
        if isinstance(x, Tensor) and (y is None or isinstance(y, Tensor)):
            return x, y
        from ppl_gen.data.batches import data_and_condition

        return data_and_condition(self, x, y)

    def check(self, x: Tensor) -> None:
        """Raise ``ValueError`` unless ``x`` is a batch of data this model can be given."""
        super().check(x)
        if is_readable(x):
            self.likelihood.check(x)

    # --- Training -------------------------------------------------------------------------------

    def losses(self, *batch: Tensor) -> Generator[Any, Mapping[str, Tensor], None]:
        """One turn of every player: the objective's loss on a batch, and its schedules' advance."""
        names = tuple(self.players)
        loss = loss_function(self.model, self.guide, self.objective)
        metrics = yield names[0] if len(names) == 1 else names, loss, batch
        self.objective.update(metrics)

    # --- Data -----------------------------------------------------------------------------------

    @torch.no_grad()
    def sample(self, n: int, y: Any = None, *, seed: int | None = None) -> Tensor:
        """Mean data of ``n`` draws from the prior, ``(n, *data_shape)``."""
        if not is_whole(n, 1):
            raise ValueError(f"expected at least one sample, got {n}")
        y = self.condition.tensor(y)
        self.check_labels(y)
        if y is not None and self.condition.size and len(y) != n:
            raise ValueError(f"expected {n} labels, one for each sample, got {len(y)}")
        with seeded(seed), evaluating(self):
            above = self.condition_inputs(y)
            for latent in self.latents:
                above.append(latent.prior(*above).expand((n,)).sample())
            return self.likelihood.mean_image(self.decode(above[-1], y))

    @torch.no_grad()
    def reconstruct(self, x: Any, y: Any = None) -> Tensor:
        """Mean data decoded from the posterior means, of the shape of ``x``."""
        x, y = self._read(x, y)
        return self.likelihood.mean_image(self.decode(self.code(x, y), y))

    @torch.no_grad()
    def traverse(
        self,
        x: Any,
        dim: int,
        values: Sequence[float] | Tensor,
        y: Any = None,
    ) -> Tensor:
        """Mean data as one dimension of the last latent takes each of ``V`` values.

        Returns:
            ``(N · V, *data_shape)`` for ``N`` data, the values varying fastest.
        """
        x, y = self._read(x, y)
        code = self.code(x, y)
        if not is_whole(dim, 0) or dim >= code.shape[1]:
            raise ValueError(f"expected a latent dimension below {code.shape[1]}, got {dim!r}")
        try:
            steps = torch.as_tensor(values, dtype=code.dtype, device=code.device)
        except (TypeError, RuntimeError) as error:
            raise ValueError(f"expected a sequence of numbers, got {values!r}") from error
        if steps.dim() != 1 or not len(steps):
            raise ValueError(f"expected a sequence of one number or more, got {values!r}")
        codes = code.repeat_interleave(len(steps), 0)
        codes = self.latents[-1].family.place(codes, dim, steps.repeat(len(code)))
        labels = None if y is None else y.repeat_interleave(len(steps), 0)
        return self.likelihood.mean_image(self.decode(codes, labels))


def require_vae(model: Any, purpose: str = "") -> VAE:
    """The model, or ``ValueError`` where it is no VAE, with what can be done with it instead.

    >>> from ppl_gen.models.vae import require_vae
    >>> require_vae(ppl_gen.zoo.gan((2,), 4), " to score")
    Traceback (most recent call last):
        ...
    ValueError: expected a ppl_gen.VAE to score, got Game, whose data have no density: ...
    """
    if not isinstance(model, VAE):
        instead = getattr(model, "instead", "")
        raise ValueError(f"expected a ppl_gen.VAE{purpose}, got {type(model).__name__}{instead}")
    return model


def _kind(part: Any) -> str:
    return type(part).__name__
