"""One VAE trained by nine programs: hand-written PyTorch, Pyro's SVI, NumPyro, pythae, and ours.

Every contestant starts from the weights of one model of ours and takes steps of Adam on the same
batches, in order and again from the start. All but stock Pyro and NumPyro, which are written as
their own examples write them, use the closed form of the KL.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyro
import pyro.distributions as dist
import torch
from pyro.infer import SVI, Trace_ELBO, TraceMeanField_ELBO
from torch import Tensor, nn
from torch.nn import functional

import ppl_gen
from ppl_gen import objectives, zoo
from ppl_gen._store import unregistered
from ppl_gen.data.batches import as_batches
from ppl_gen.models.vae import VAE
from ppl_gen.training import memory
from ppl_gen.training.pairs import as_trainable
from ppl_gen.training.players import settings, update_rules
from ppl_gen.training.run import Run

LR = 1e-3
FLOOR = 1e-5  # of the posterior's standard deviation
CALL = 100  # steps in one call of a loop


@dataclass
class Problem:
    """A model and its data.

    Attributes:
        batches: binary images ``(batches, B, C, H, W)``.
        particles: draws of the posterior per image.
        narrow: start at a posterior so narrow that its draws do not matter.
    """

    batches: Tensor
    latent: int
    hidden: int
    network: str = "mlp"
    particles: int = 1
    narrow: bool = False

    @property
    def size(self) -> int:
        return self.batches.shape[1]

    def vae(self) -> VAE:
        torch.manual_seed(0)
        vae = zoo.vae(
            tuple(self.batches.shape[2:]),
            self.latent,
            hidden=self.hidden,
            network=self.network,
            objective=objectives.ELBO(num_particles=self.particles),
        )
        if self.narrow:
            with torch.no_grad():
                last = last_layer(vae.latents[0].encoder)
                last.weight[self.latent :] = 0
                last.bias[self.latent :] = math.log(math.expm1(1e-3 - FLOOR))
        return vae


@dataclass
class Contestant:
    """A way to train.

    Attributes:
        run: takes that many steps.
        loss: the loss of a batch under the weights as they are, summed over images.
        sampled: whether the KL is estimated from the draw.
        chunk: steps in one call.
        around: what its loop holds while it trains.
    """

    run: Callable[[int], Any]
    loss: Callable[[Tensor], float]
    sampled: bool = False
    chunk: int = 1
    around: Callable[[], AbstractContextManager[None]] = nullcontext


class Networks(nn.Module):
    """The networks of a VAE, and its loss as one writes it by hand."""

    def __init__(self, vae: VAE, particles: int = 1):
        super().__init__()
        self.encoder, self.decoder = vae.latents[0].encoder, vae.decoder
        self.shape = () if particles == 1 else (particles,)

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        loc, raw = self.encoder(x).chunk(2, -1)
        return loc, functional.softplus(raw) + FLOOR

    def forward(self, x: Tensor) -> Tensor:
        loc, scale = self.posterior(x)
        z = torch.addcmul(loc, scale, torch.randn(self.shape + scale.shape))
        logits = self.decoder(z)
        target = x.expand_as(logits) if self.shape else x
        cross_entropy = functional.binary_cross_entropy_with_logits(logits, target, reduction="sum")
        kl = (0.5 * (loc.square() + scale.square() - 1) - scale.log()).sum()
        return (cross_entropy / self.shape[0] if self.shape else cross_entropy) + kl


def cycle(batches: Tensor) -> Iterator[Tensor]:
    """The batches, each a tensor of its own, for ever."""
    return itertools.cycle([batch.clone() for batch in batches])


def last_layer(network: nn.Module) -> nn.Linear:
    return [module for module in network.modules() if isinstance(module, nn.Linear)][-1]


def silent(loss: Callable[[Tensor], Tensor]) -> Callable[[Tensor], float]:
    def evaluate(x: Tensor) -> float:
        with torch.no_grad():
            return loss(x).item()

    return evaluate


def _trained_by(loss: Callable[[Tensor], Tensor], parameters: Any, problem: Problem) -> Contestant:
    """The plain loop around a loss, with fused Adam."""
    optimizer = torch.optim.Adam(parameters, lr=LR, fused=True)
    batches = cycle(problem.batches)

    def run(steps: int) -> None:
        for _ in range(steps):
            optimizer.zero_grad()
            loss(next(batches)).backward()
            optimizer.step()

    return Contestant(run, silent(loss))


# --- Peers ----------------------------------------------------------------------------------------


def hand_written(problem: Problem) -> Contestant:
    networks = Networks(problem.vae(), problem.particles)
    return _trained_by(networks, networks.parameters(), problem)


def compiled(problem: Problem) -> Contestant:
    networks = Networks(problem.vae(), problem.particles)
    contestant = _trained_by(torch.compile(networks), networks.parameters(), problem)
    contestant.loss = silent(networks)
    return contestant


def _pyro_pair(networks: Networks, problem: Problem) -> tuple[Any, Any]:
    event = problem.batches.dim() - 2

    def model(x: Tensor) -> None:
        pyro.module("decoder", networks.decoder)
        with pyro.plate("data", x.shape[0]):
            zeros = x.new_zeros(x.shape[0], problem.latent)
            z = pyro.sample("z", dist.Normal(zeros, torch.ones_like(zeros)).to_event(1))
            logits = networks.decoder(z)
            pyro.sample("x", dist.Bernoulli(logits=logits).to_event(event), obs=x)

    def guide(x: Tensor) -> None:
        pyro.module("encoder", networks.encoder)
        with pyro.plate("data", x.shape[0]):
            pyro.sample("z", dist.Normal(*networks.posterior(x)).to_event(1))

    return model, guide


def stock_svi(problem: Problem) -> Contestant:
    """As in Pyro's VAE tutorial."""
    model, guide = _pyro_pair(Networks(problem.vae()), problem)
    svi = SVI(model, guide, pyro.optim.Adam({"lr": LR}), Trace_ELBO())
    batches = cycle(problem.batches)

    def run(steps: int) -> None:
        pyro.clear_param_store()
        with pyro.validation_enabled(True):
            for _ in range(steps):
                svi.step(next(batches))

    return Contestant(run, svi.evaluate_loss, sampled=True)


def elbo_module(problem: Problem) -> Contestant:
    """Pyro's objective as a module, closed KL, fused Adam, no validation."""
    networks = Networks(problem.vae())
    module = TraceMeanField_ELBO()(*_pyro_pair(networks, problem))
    contestant = _trained_by(module, networks.parameters(), problem)
    run = contestant.run

    def unchecked(steps: int) -> None:
        pyro.clear_param_store()
        with pyro.validation_enabled(False):
            run(steps)

    contestant.run = unchecked
    return contestant


def pythae(problem: Problem) -> Contestant:
    """The model and the lines of the trainer's ``train_step``, without data loader and callbacks.

    Raises:
        ImportError: pythae is not installed.
    """
    from pythae.models import VAE as Model
    from pythae.models import VAEConfig
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder

    networks = Networks(problem.vae())

    class Encoder(BaseEncoder):
        def __init__(self) -> None:
            super().__init__()
            self.network = networks.encoder

        def forward(self, x: Tensor) -> ModelOutput:
            loc, log_covariance = self.network(x).chunk(2, -1)
            return ModelOutput(embedding=loc, log_covariance=log_covariance)

    class Decoder(BaseDecoder):
        def __init__(self) -> None:
            super().__init__()
            self.network = networks.decoder

        def forward(self, z: Tensor) -> ModelOutput:
            return ModelOutput(reconstruction=self.network(z).sigmoid())

    shape = tuple(problem.batches.shape[2:])
    settings = VAEConfig(input_dim=shape, latent_dim=problem.latent, reconstruction_loss="bce")
    model = Model(settings, encoder=Encoder(), decoder=Decoder())
    optimizer = torch.optim.Adam(model.parameters(), lr=LR)
    batches = cycle(problem.batches)

    def run(steps: int) -> None:
        for _ in range(steps):
            loss = model({"data": next(batches)}).loss
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            loss.item()

    def loss_of(x: Tensor) -> Tensor:
        # Its encoder gives log σ², where that of the others gives σ before the softplus.
        raw = last_layer(networks.encoder).bias[problem.latent :]
        before = raw.clone()
        raw.copy_(2 * (functional.softplus(raw) + FLOOR).log())
        found = model({"data": x}).loss * len(x)
        raw.copy_(before)
        return found

    return Contestant(run, silent(loss_of))


def _numpyro_parts(problem: Problem) -> tuple[Any, Any, np.ndarray]:
    """The state of NumPyro's ``SVI``, that itself, and the batches, flattened."""
    import jax
    import jax.numpy as jnp
    import numpyro
    import numpyro.distributions as ndist
    from numpyro.infer import SVI as NumPyroSVI
    from numpyro.infer import Trace_ELBO as NumPyroELBO

    vae = problem.vae()
    layers = {"e": vae.latents[0].encoder.layers, "d": vae.decoder.layers}
    weights = {
        f"{part}{i}.{name}": jnp.asarray(value.detach().numpy())
        for part, stack in layers.items()
        for i, layer in enumerate(m for m in stack if isinstance(m, nn.Linear))
        for name, value in layer.named_parameters()
    }

    def network(part: str, x: Any) -> Any:
        own = {k: numpyro.param(k, v) for k, v in weights.items() if k.startswith(part)}
        hidden = jax.nn.relu(x @ own[f"{part}0.weight"].T + own[f"{part}0.bias"])
        return hidden @ own[f"{part}1.weight"].T + own[f"{part}1.bias"]

    def model(x: Any) -> None:
        with numpyro.plate("data", x.shape[0]):
            prior = ndist.Normal(0.0, 1.0).expand([problem.latent]).to_event(1)
            z = numpyro.sample("z", prior)
            pixels = ndist.Bernoulli(logits=network("d", z)).to_event(1)
            numpyro.sample("x", pixels, obs=x)

    def guide(x: Any) -> None:
        loc, raw = jnp.split(network("e", x), 2, -1)
        with numpyro.plate("data", x.shape[0]):
            posterior = ndist.Normal(loc, jax.nn.softplus(raw) + FLOOR).to_event(1)
            numpyro.sample("z", posterior)

    svi = NumPyroSVI(model, guide, numpyro.optim.Adam(LR), NumPyroELBO())
    batches = problem.batches.flatten(2).numpy()
    return svi, svi.init(jax.random.PRNGKey(0), batches[0]), batches


def numpyro_update(problem: Problem) -> Contestant:
    """NumPyro's SVI, one compiled update per call.

    Raises:
        ImportError: NumPyro is not installed.
    """
    import jax

    svi, state, stacked = _numpyro_parts(problem)
    batches = itertools.cycle([jax.numpy.asarray(batch) for batch in stacked])
    update = jax.jit(svi.update)

    def run(steps: int) -> None:
        nonlocal state
        for _ in range(steps):
            state, _ = update(state, next(batches))
        jax.block_until_ready(state)

    def loss(x: Tensor) -> float:
        return float(svi.evaluate(state, x.flatten(1).numpy()))

    return Contestant(run, loss, sampled=True)


def numpyro_loop(problem: Problem) -> Contestant:
    """The same in ``fori_loop``, many updates per call.

    Raises:
        ImportError: NumPyro is not installed.
    """
    import jax

    svi, state, stacked = _numpyro_parts(problem)
    batches = jax.numpy.asarray(stacked)

    def body(i: Any, carried: Any) -> Any:
        batch = jax.lax.dynamic_index_in_dim(batches, i % len(stacked), keepdims=False)
        return svi.update(carried, batch)[0]

    many = jax.jit(lambda start: jax.lax.fori_loop(0, CALL, body, start))

    def run(steps: int) -> None:
        nonlocal state
        for _ in range(steps // CALL):
            state = many(state)
        jax.block_until_ready(state)

    def loss(x: Tensor) -> float:
        return float(svi.evaluate(state, x.flatten(1).numpy()))

    return Contestant(run, loss, sampled=True, chunk=CALL)


# --- Ours -----------------------------------------------------------------------------------------


def staged_step(problem: Problem) -> Contestant:
    """``ppl_gen.stage`` in a loop of one's own that keeps its memory."""
    vae = problem.vae()
    step = ppl_gen.stage(vae.model, vae.guide, vae.objective, staged=True)
    optimizer = torch.optim.Adam(step.parameters(), lr=LR, fused=True)
    batches = cycle(problem.batches)

    def run(steps: int) -> None:
        with unregistered():
            for _ in range(steps):
                step(next(batches))
                optimizer.step()

    return Contestant(run, _loss_of(vae), around=memory.retained)


def fit_steps(
    problem: Problem, steps_per_call: int | str = "auto", staged: bool = True
) -> Contestant:
    """The steps of ``ppl_gen.fit``, losses and metrics recorded."""
    vae = problem.vae()
    trainable = as_trainable(vae)
    trainable.prepare(problem.batches[0])
    chosen = settings(trainable, lr=LR, optimizer=None, clip_norm=None, ema=None)
    rules, source = update_rules(trainable, chosen), as_batches(problem.batches[0], 1, seed=0)
    loop = Run(trainable, rules, source, staged=staged, steps_per_call=steps_per_call)
    batches = cycle(problem.batches)

    def run(steps: int) -> None:
        with unregistered(), pyro.validation_enabled(False):
            while steps:
                several = min(steps, loop.steps_per_call)
                for _ in loop.take([(next(batches),) for _ in range(several)]):
                    steps -= 1

    return Contestant(run, _loss_of(vae), around=memory.retained)


def fit_singly(problem: Problem) -> Contestant:
    """As with callbacks, which want to see every step."""
    return fit_steps(problem, 1)


def fit_eagerly(problem: Problem) -> Contestant:
    return fit_steps(problem, 1, staged=False)


def _loss_of(vae: VAE) -> Callable[[Tensor], float]:
    def loss(x: Tensor) -> Tensor:
        with unregistered():
            return vae.objective.differentiable_loss(vae.model, vae.guide, x)

    return silent(loss)


CONTESTANTS: dict[str, Callable[[Problem], Contestant]] = {
    "hand-written PyTorch": hand_written,
    "the same, torch.compile": compiled,
    "Pyro SVI + Trace_ELBO": stock_svi,
    "Pyro ELBO module, fused Adam": elbo_module,
    "pythae": pythae,
    "NumPyro jit(update)": numpyro_update,
    "NumPyro fori_loop": numpyro_loop,
    "ours, stage + fused Adam": staged_step,
    "ours, fit": fit_steps,
    "ours, fit, 1 step a call": fit_singly,
    "ours, fit, eager": fit_eagerly,
}
