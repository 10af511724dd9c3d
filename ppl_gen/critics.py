r"""Networks that tell data from fakes, and how samples are shown to them.

A critic maps samples ``(B, *data_shape)`` to logits ``(B, K)``, one for each of K heads. Wrappers
nest: each shows its critic something else than the samples as they are, data and fakes alike, or
asks it a further question.

=============  ===================================================  ===============================
wrapper        what the critic is shown                             source
=============  ===================================================  ===============================
``Noisy``      samples with noise                                   Arjovsky and Bottou 2017
``Packed``     several samples at once                              Lin et al. 2018, PacGAN
``Views``      every image under maps with an inverse, by heads     Tran et al. 2021, DAG
``Rotations``  rotated images too, to tell by which angle           Chen et al. 2019, SSGAN
=============  ===================================================  ===============================

>>> from ppl_gen import critics, zoo
>>> def shown(critic):
...     return critics.Views(critics.Rotations(critics.Noisy(critic, 0.1)))
>>> zoo.wgan((1, 8, 8), 4, hidden=16, wrap=shown).sample(2, seed=0).shape
torch.Size([2, 1, 8, 8])
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from ppl_gen import networks
from ppl_gen._checks import is_finite, is_whole
from ppl_gen.networks import MLP, ConvFeatures, Shape, Widths, widths
from ppl_gen.schedules import Constant, Schedule
from ppl_gen.transforms import rotations

JOINT = 256  # the width of the features of images and latents
Look = tuple[Callable[[Tensor], Tensor], float]


class Critic(nn.Module):
    """Heads on the features of one body.

    Args:
        body: a module from samples to features ``(B, F)``.
        features: ``F``.
        heads: ``K``.

    Raises:
        ValueError: numbers of features or heads below one.

    >>> body = torch.nn.Sequential(torch.nn.Linear(2, 16), torch.nn.LeakyReLU(0.2))
    >>> critic = ppl_gen.critics.Critic(body, 16, heads=4)
    >>> critic(torch.zeros(5, 2)).shape, critic.features(torch.zeros(5, 2)).shape
    (torch.Size([5, 4]), torch.Size([5, 16]))
    """

    def __init__(self, body: nn.Module, features: int, heads: int = 1):
        super().__init__()
        if not is_whole(features, 1) or not is_whole(heads, 1):
            raise ValueError(f"expected one feature and head or more, got {features} and {heads}")
        self.body, self.head = body, nn.Linear(features, heads)

    def features(self, x: Tensor) -> Tensor:
        """The features ``(B, F)`` of samples."""
        return self.body(x)

    def judge(self, features: Tensor) -> Tensor:
        """The logits of features."""
        return self.head(features)

    def forward(self, x: Tensor) -> Tensor:
        return self.judge(self.features(x))


class Joined(nn.Module):
    """The body of a critic of rows ``(B, D + Z)``: features of a datum, and of these and a latent.

    Args:
        body: from data ``(B, *data_shape)`` to features.
        data_shape: of D numbers.
        features: how many there are.
        latent_dim: ``Z``.
        width: of the joint features.

    >>> joined = ppl_gen.critics.Joined(torch.nn.Flatten(), (1, 2, 2), 4, latent_dim=3, width=8)
    >>> joined(torch.zeros(5, 7)).shape
    torch.Size([5, 8])
    """

    def __init__(
        self, body: nn.Module, data_shape: Shape, features: int, latent_dim: int, width: int
    ):
        super().__init__()
        self.body, self.data_shape = body, tuple(data_shape)
        self.mixed = nn.Sequential(nn.Linear(features + latent_dim, width), nn.LeakyReLU(0.2))

    def forward(self, rows: Tensor) -> Tensor:
        x, z = rows.tensor_split((math.prod(self.data_shape),), 1)
        return self.mixed(torch.cat([self.body(x.unflatten(1, self.data_shape)), z], 1))


def default(
    data_shape: Shape, hidden: Widths | None = None, network: str = "auto", latent_dim: int = 0
) -> Critic:
    """The critic of the games of :mod:`ppl_gen.zoo` for data of a shape, and perhaps latents.

    Args:
        data_shape: ``(C, H, W)`` of images, ``(D,)`` of rows.
        hidden: the widths of fully connected layers, leaky rectifiers after each: by default 400,
            and none behind convolutions.
        network: ``"conv"`` for convolutions, ``"mlp"`` for fully connected layers alone, ``"map"``
            for the former, and ``"auto"``, which are convolutions for images.
        latent_dim: ``Z`` where it sees rows ``(B, D + Z)`` of flattened data and latents.

    Raises:
        ValueError: another network, or convolutions of data that are no images.

    >>> ppl_gen.critics.default((2,), (128, 64))(torch.zeros(5, 2)).shape
    torch.Size([5, 1])
    >>> ppl_gen.critics.default((1, 28, 28)).body.num_features
    2048
    """
    if networks.game_network(network, data_shape) != "mlp":
        features = ConvFeatures(data_shape, () if hidden is None else widths(hidden))
        if not latent_dim:
            return Critic(features, features.num_features)
        joined = Joined(features, data_shape, features.num_features, latent_dim, JOINT)
        return Critic(joined, JOINT)
    found = widths(400 if hidden is None else hidden)
    seen = (math.prod(data_shape) + latent_dim,) if latent_dim else data_shape
    if not found:
        return Critic(nn.Flatten(), math.prod(seen))
    leaky = partial(nn.LeakyReLU, 0.2)
    mlp = MLP([seen], found[:-1], (found[-1],), leaky)
    return Critic(nn.Sequential(mlp, leaky()), found[-1])


class Wrapper(nn.Module):
    """A critic that is shown something else; this one shows the samples as they are.

    Args:
        critic: a module from samples to logits, which may be a wrapper.

    Attributes:
        asks: whether it has an auxiliary cost of its own.

    >>> class Halved(ppl_gen.critics.Wrapper):
    ...     def show(self, x):
    ...         return x / 2
    >>> Halved(torch.nn.Identity())(torch.ones(3, 1)).flatten()
    tensor([0.5000, 0.5000, 0.5000])
    """

    asks = False

    def __init__(self, critic: nn.Module):
        super().__init__()
        self.critic = critic

    def show(self, x: Tensor) -> Tensor:
        """What the critic sees of samples."""
        return x

    def forward(self, x: Tensor) -> Tensor:
        return self.critic(self.show(x))

    def features(self, x: Tensor) -> Tensor:
        """The features of samples, for a critic that has some."""
        return cast(Critic, self.critic).features(self.show(x))

    def judge(self, features: Tensor) -> Tensor:
        """The logits of features."""
        return cast(Critic, self.critic).judge(features)

    def total(self, costs: Tensor, player: str) -> Tensor:
        """See :func:`total`."""
        return total(self.critic, costs, player)

    def auxiliary(self, x: Tensor, player: str) -> Tensor | None:
        """See :func:`auxiliary`; the critic is shown nothing unless it asks something."""
        if not any(getattr(part, "asks", False) for part in self.critic.modules()):
            return None
        return auxiliary(self.critic, self.show(x), player)

    def looks(self) -> list[Look]:
        """See :func:`looks`."""
        inner = looks(self.critic)
        if len(inner) == 1:
            return [(self, 1.0)]
        return [(partial(self._through, look), weight) for look, weight in inner]

    def _through(self, look: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        return look(self.show(x))

    def require(self, x: Tensor) -> None:
        """See :func:`require`."""
        require(self.critic, self.show(x))


def total(critic: nn.Module, costs: Tensor, player: str) -> Tensor:
    """The cost of a player, from the costs ``(B, K)`` of logits: their sum, unless heads differ.

    Args:
        critic: which gave the logits.
        costs: a cost for every logit.
        player: ``"critic"`` or ``"generator"``.

    >>> from ppl_gen.critics import Views, total
    >>> views = Views(ppl_gen.critics.Critic(torch.nn.Flatten(), 4), weight=0.3)
    >>> costs = torch.tensor([[1.0, 1.0, 1.0, 1.0]])
    >>> total(views, costs, "critic"), total(torch.nn.Linear(4, 4), costs, "critic")
    (tensor(1.3000), tensor(4.))
    """
    return critic.total(costs, player) if isinstance(critic, Wrapper) else costs.sum()


def auxiliary(critic: nn.Module, x: Tensor, player: str) -> Tensor | None:
    """A further cost of a player on samples, in the critic's turn data and in the other's fakes.

    >>> from ppl_gen.critics import Rotations, auxiliary
    >>> asking = Rotations(ppl_gen.critics.Critic(torch.nn.Flatten(), 4))
    >>> auxiliary(asking, torch.zeros(8, 1, 2, 2), "critic").shape
    torch.Size([])
    >>> auxiliary(asking.critic, torch.zeros(8, 1, 2, 2), "critic") is None
    True
    """
    return critic.auxiliary(x, player) if isinstance(critic, Wrapper) else None


def looks(critic: nn.Module) -> list[Look]:
    """A critic as functions of samples to logits of one head each, with their weights.

    A penalty is taken of each of them, since every head has gradients of its own.

    >>> views = ppl_gen.critics.Views(ppl_gen.critics.Critic(torch.nn.Flatten(), 4), weight=0.3)
    >>> [round(weight, 2) for _, weight in ppl_gen.critics.looks(views)]
    [1.0, 0.1, 0.1, 0.1]
    """
    return critic.looks() if isinstance(critic, Wrapper) else [(critic, 1.0)]


def require(critic: nn.Module, x: Tensor) -> None:
    """Raise ``ValueError`` unless samples of this shape can be shown to a critic.

    >>> from ppl_gen.critics import Critic, Rotations, require
    >>> require(Rotations(Critic(torch.nn.Flatten(), 2)), torch.zeros(5, 1, 1, 2))
    Traceback (most recent call last):
        ...
    ValueError: expected square images (B, C, H, H) to rotate, got (5, 1, 1, 2)
    """
    if isinstance(critic, Wrapper):
        critic.require(x)


class Noisy(Wrapper):
    r"""A critic of samples blurred by :math:`N(0, \sigma^2)`, fresh noise in every look.

    The laws that are compared overlap then, however far apart they are (Sønderby et al. 2017;
    Arjovsky and Bottou 2017). Annealed to zero, the noise leaves the optimum where it was.

    Args:
        critic: of the blurred samples.
        scale: σ, or a schedule of it, which a game advances by one in every batch.

    Raises:
        ValueError: a σ below zero.

    >>> fading = ppl_gen.schedules.WarmUp(1000, 0.5, 0.0)
    >>> blurred = ppl_gen.critics.Noisy(torch.nn.Linear(2, 1), fading)
    >>> blurred(torch.zeros(5, 2)).shape
    torch.Size([5, 1])
    """

    def __init__(self, critic: nn.Module, scale: float | Schedule):
        super().__init__(critic)
        if not isinstance(scale, Schedule) and not (is_finite(scale) and scale >= 0):
            raise ValueError(f"expected a scale of zero or more or a Schedule, got {scale!r}")
        self.silent = not isinstance(scale, Schedule) and scale == 0  # no draws are made then
        self.scale = scale if isinstance(scale, Schedule) else Constant(scale)

    def show(self, x: Tensor) -> Tensor:
        if self.silent:
            return x
        return x + self.scale.value.to(x.dtype) * torch.randn_like(x)


class Packed(Wrapper):
    """A critic of several samples at once, which sees their variety (Lin et al. 2018, PacGAN).

    Images are stacked along their channels, and rows are put one after the other. What is left
    over where the number of samples is no multiple is not looked at.

    Args:
        critic: of packs, samples of :func:`packed_shape`.
        size: the number of samples in a pack.

    Raises:
        ValueError: a size below one; when called, fewer samples than a pack.

    >>> shape = ppl_gen.critics.packed_shape((2,), 3)
    >>> packed = ppl_gen.critics.Packed(ppl_gen.networks.MLP([shape], [16], (1,)), 3)
    >>> packed(torch.zeros(7, 2)).shape
    torch.Size([2, 1])
    """

    def __init__(self, critic: nn.Module, size: int):
        super().__init__(critic)
        self.size = _pack_size(size)

    def show(self, x: Tensor) -> Tensor:
        packs = len(x) // self.size
        if not packs:
            raise ValueError(
                f"expected samples for a pack of {self.size}, got {len(x)}: drop_last=True leaves "
                "short batches out"
            )
        shape = packed_shape(tuple(x.shape[1:]), self.size)
        return x[: packs * self.size].reshape(packs, *shape)


def packed_shape(data_shape: Shape, size: int) -> Shape:
    """The shape of a pack of so many samples.

    >>> ppl_gen.critics.packed_shape((3, 28, 28), 2)
    (6, 28, 28)
    """
    return (data_shape[0] * _pack_size(size), *data_shape[1:])


def _pack_size(size: Any) -> int:
    if not is_whole(size, 1):
        raise ValueError(f"expected one sample or more in a pack, got {size!r}")
    return int(size)


class _Transform(Protocol):
    """A map of samples with an inverse, see :mod:`ppl_gen.transforms`."""

    def __call__(self, x: Tensor) -> Tensor: ...

    def inverse(self) -> Callable[[Tensor], Tensor]: ...


class Views(Wrapper):
    r"""A head for every view of the samples, on one body: data augmentation for GANs (DAG).

    With :math:`V_k` the costs of head k on :math:`T_k(x)`, for data and fakes alike, the critic's
    cost is

    .. math::

        V_1 + \frac{\lambda_u}{K - 1} \sum_{k=2}^K V_k

    where :math:`T_1` is the identity, and the generator's is the same with :math:`\lambda_v` (Tran,
    Tran, Nguyen, Nguyen and Cheung 2021). A map with an inverse leaves every divergence what it is,
    so all K heads have one optimum, which is that of the critic alone; augmented data without
    augmented fakes would have another.

    Args:
        critic: with features, see :class:`Critic`, and one logit: the head of :math:`T_1`.
        transforms: :math:`T_1, \dots, T_K`, by default the four rotations.
        weight: :math:`\lambda_u`.
        generator_weight: :math:`\lambda_v`, by default the same.

    Raises:
        ValueError: transforms without an inverse, weights below zero, the generator's alone above
            zero, a critic without features or with several heads or views, or one of packs, which
            goes outside: ``Packed(Views(critic), size)``.

    >>> body = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 8), torch.nn.ReLU())
    >>> views = ppl_gen.critics.Views(ppl_gen.critics.Critic(body, 8))
    >>> views(torch.zeros(5, 1, 4, 4)).shape
    torch.Size([5, 4])
    """

    def __init__(
        self,
        critic: nn.Module,
        transforms: Sequence[_Transform] | None = None,
        weight: float = 0.2,
        generator_weight: float | None = None,
    ):
        super().__init__(critic)
        features = _num_features(critic, "views")
        if any(isinstance(part, Views) for part in critic.modules()):
            raise ValueError("expected all views in one Views, got Views of Views")
        self.transforms = _with_inverses(rotations() if transforms is None else transforms)
        both = {
            "critic": _weight(weight),
            "generator": _weight(weight if generator_weight is None else generator_weight),
        }
        if both["generator"] and not both["critic"]:
            raise ValueError(
                f"expected heads that learn, got weight 0 and generator_weight {generator_weight}"
            )
        others = len(self.transforms) - 1
        self.weights = {player: found / max(1, others) for player, found in both.items()}
        # Heads that cost nothing are not even asked, so that the rest is the critic to the bit.
        self.shown = len(self.transforms) if both["critic"] else 1
        self.heads = nn.ModuleList(nn.Linear(features, 1) for _ in range(self.shown - 1))

    def forward(self, x: Tensor) -> Tensor:
        if self.shown == 1:
            return self.judge(self.features(x))
        views = torch.cat([change(x) for change in self.transforms])
        first, *rest = self.features(views).chunk(self.shown)
        judged = [head(seen) for head, seen in zip(self.heads, rest, strict=True)]
        return torch.cat([self.judge(first), *judged], 1)

    def total(self, costs: Tensor, player: str) -> Tensor:
        if self.shown == 1:
            return costs.sum()
        return costs[:, 0].sum() + self.weights[player] * costs[:, 1:].sum()

    def looks(self) -> list[Look]:
        first: Look = (self._first, 1.0)
        return [first] + [
            (partial(self._other, k), self.weights["critic"]) for k in range(1, self.shown)
        ]

    def _first(self, x: Tensor) -> Tensor:
        return self.judge(self.features(x))

    def _other(self, k: int, x: Tensor) -> Tensor:
        return self.heads[k - 1](self.features(self.transforms[k](x)))

    def require(self, x: Tensor) -> None:
        super().require(x)
        probe = torch.randn_like(x)
        for k, change in enumerate(self.transforms):
            seen = change(probe)
            if seen.shape != x.shape:
                raise ValueError(
                    f"expected views of shape {tuple(x.shape)}, like the samples, got "
                    f"{tuple(seen.shape)} from {change!r}"
                )
            if k == 0 and not seen.equal(probe):
                raise ValueError(f"expected the identity as the first view, got {change!r}")
            if not torch.allclose(change(probe[:1]), seen[:1], rtol=1e-4, atol=1e-4):
                raise ValueError(
                    f"expected transforms of each sample alone, got {change!r}, which does others "
                    f"to a batch of shape {tuple(x.shape)}"
                )
            if not torch.allclose(change.inverse()(seen), probe, rtol=1e-4, atol=1e-4):
                raise ValueError(
                    f"expected transforms with an inverse, got {change!r}, whose inverse does not "
                    "undo it"
                )


class Rotations(Wrapper):
    r"""A critic that also tells by which angle images were rotated (Chen et al. 2019, SSGAN).

    A part of the samples is shown in all four rotations :math:`T_k x`, and a further head R on the
    critic's features names k. The critic learns that on data alone and the generator on fakes
    alone, or they would agree on whatever is easy to recognise:

    .. math::

        \alpha_d\, \mathbb{E}_d \mathbb{E}_k [-\log R_k(T_k x)], \qquad
        \alpha_g\, \mathbb{E}_g \mathbb{E}_k [-\log R_k(T_k x)]

    for each sample of the batch. Only upright images are told from fakes.

    Args:
        critic: with features, see :class:`Critic`.
        weight: :math:`\alpha_d`.
        generator_weight: :math:`\alpha_g`.
        share: the part of a batch that is rotated; 1/4 shows as many images again.

    Raises:
        ValueError: weights below zero, a share outside (0, 1], a critic without features, or one of
            packs, which goes outside: ``Packed(Rotations(critic), size)``.

    >>> body = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 8), torch.nn.ReLU())
    >>> asking = ppl_gen.critics.Rotations(ppl_gen.critics.Critic(body, 8))
    >>> asking(torch.zeros(5, 1, 4, 4)).shape, asking.accuracy(torch.zeros(5, 1, 4, 4))
    (torch.Size([5, 1]), tensor(0.2500))
    """

    asks = True

    def __init__(
        self,
        critic: nn.Module,
        weight: float = 1.0,
        generator_weight: float = 0.2,
        share: float = 0.25,
    ):
        super().__init__(critic)
        features = _num_features(critic, "rotations")
        if not (is_finite(share) and 0 < share <= 1):
            raise ValueError(f"expected a share in (0, 1], got {share!r}")
        self.weights = {"critic": _weight(weight), "generator": _weight(generator_weight)}
        self.share, self.transforms = share, rotations()
        self.angle = nn.Linear(features, len(self.transforms))

    def rotated(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Images in all four rotations, one block after the other, and which it is of each."""
        views = torch.cat([change(x) for change in self.transforms])
        return views, torch.arange(len(self.transforms), device=x.device).repeat_interleave(len(x))

    def auxiliary(self, x: Tensor, player: str) -> Tensor | None:
        inner, weight = super().auxiliary(x, player), self.weights[player]
        if not weight:
            return inner
        views, turns = self.rotated(x[: math.ceil(self.share * len(x))])
        cost = weight * len(x) * cross_entropy(self.angle(self.features(views)), turns)
        return cost if inner is None else inner + cost

    @torch.no_grad()
    def accuracy(self, x: Tensor) -> Tensor:
        """How often the angle is told of images, each in all four rotations."""
        views, turns = self.rotated(x)
        return (self.angle(self.features(views)).argmax(1) == turns).float().mean()

    def require(self, x: Tensor) -> None:
        super().require(x)
        if x.dim() != 4 or x.shape[-1] != x.shape[-2]:
            raise ValueError(f"expected square images (B, C, H, H) to rotate, got {tuple(x.shape)}")


def _num_features(critic: nn.Module, what: str) -> int:
    """How many features a critic has, or ``ValueError`` if its features cannot be used."""
    inner = critic
    while isinstance(inner, Wrapper):
        if isinstance(inner, Packed):
            raise ValueError(f"expected packs outside of {what}, got {what} of a critic of packs")
        inner = inner.critic
    if not isinstance(inner, Critic):
        raise ValueError(
            f"expected a critics.Critic(body, features) for {what}, got {type(inner).__name__}"
        )
    if inner.head.out_features != 1:
        raise ValueError(f"expected one head to add {what} to, got {inner.head.out_features}")
    return inner.head.in_features


def _with_inverses(transforms: Any) -> list[Any]:
    found = list(transforms)
    if not found:
        raise ValueError("expected at least one transform, the identity, got none")
    for change in found:
        if not callable(getattr(change, "inverse", None)):
            raise ValueError(
                f"expected transforms with an inverse, got {change!r}: without one, views of two "
                "laws can be equal where the laws are not"
            )
    return found


def _weight(value: Any) -> float:
    if not is_finite(value) or value < 0:
        raise ValueError(f"expected a weight of zero or more, got {value!r}")
    return float(value)
