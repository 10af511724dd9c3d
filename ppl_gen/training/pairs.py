"""Pyro's model and guide with an objective, as one player to train."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import pyro
import torch
from pyro import poutine
from pyro.infer.elbo import ELBOModule
from pyro.poutine.util import site_is_subsample
from torch import Tensor, nn

from ppl_gen._modes import evaluating
from ppl_gen._processes import World
from ppl_gen._random import RandomState
from ppl_gen._store import param_leaves, unregistered
from ppl_gen.models.base import GenerativeModel
from ppl_gen.objectives.elbo import ELBO, Objective, loss_function
from ppl_gen.objectives.stock import KNOWN, require_granted
from ppl_gen.objectives.terms import Program, terms
from ppl_gen.schedules import Constant, Schedule
from ppl_gen.staging.sandbox import Sandbox
from ppl_gen.staging.staged import BASELINE
from ppl_gen.training import checks, generators, parameter_store
from ppl_gen.training.minibatches import Division
from ppl_gen.training.trainable import METHODS, Cycle, Loss, Trainable, Turns, fill, one_turn

# What a pair finds out by itself.
DERIVED = ("_by_position", "_names", "_parameters", "_buffers", "_stored", "_counts")


class Pair:
    """Any Pyro model and guide with an objective, as something to train.

    Args:
        model: a Pyro program.
        guide: a Pyro program with the same arguments.
        objective: a ``pyro.infer.ELBO``; ours by default.

    Parameters are found by running the objective once on the first batch: those of ``pyro.param``,
    of ``pyro.module`` and of PyroModules alike.

    >>> from pyro.distributions import Normal
    >>> def model(x):
    ...     mean = pyro.sample("mean", Normal(0.0, 1.0))
    ...     with pyro.plate("data", len(x)):
    ...         pyro.sample("x", Normal(mean, 1.0), obs=x)
    >>> guide = pyro.infer.autoguide.AutoNormal(model)
    >>> pair, x = ppl_gen.Pair(model, guide), torch.full((9,), 2.0)
    >>> history = ppl_gen.fit(pair, x, epochs=200, lr=0.05, staged=False, progress=False)
    >>> abs(guide.median()["mean"].item() - 1.8) < 0.3
    True
    """

    def __init__(self, model: Program, guide: Program, objective: pyro.infer.ELBO | None = None):
        self.model, self.guide = model, guide
        self.objective = ELBO() if objective is None else objective
        loss = loss_function(model, guide, self.objective)
        self._by_position = _recording_schedules(loss, _schedules(self.objective))
        self._names: tuple[str, ...] = ()
        self._parameters: dict[str, Tensor] = {}
        self._buffers: dict[str, Tensor] = {}
        self._stored: int | None = None
        self._counts: dict[int, int] = {}

    def name_arguments(self, names: Sequence[str]) -> None:
        """Pass the tensors of a batch to the programs by name; by position without names."""
        self._names = tuple(names)

    @property
    def _loss(self) -> Loss:
        return self._by_name if self._names else self._by_position

    def _by_name(self, *batch: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        return self._by_position(**self._named(batch))

    def _named(self, batch: Sequence[Tensor]) -> dict[str, Tensor]:
        return dict(zip(self._names, batch, strict=True))

    def prepare(self, *batch: Tensor) -> None:
        args, kwargs = ((), self._named(batch)) if self._names else (batch, {})
        checks.arguments(args, kwargs, model=self.model, guide=self.guide)
        before = set(pyro.get_param_store().keys())
        random, baselines = RandomState(tensor.device for tensor in batch), _baselines()
        with Sandbox() as sandbox, poutine.trace(param_only=True) as captured:
            self._require_granted(*batch)
            try:
                loss, _ = self._loss(*batch)
            except Exception as error:
                parameter_store.require_current(captured.trace, None)
                if old := sorted(before & captured.trace.nodes.keys()):
                    error.add_note(
                        f"Pyro's parameter store held {', '.join(old)} before: if an earlier model "
                        "made them, call pyro.clear_param_store() before building a new one"
                    )
                raise
            parameter_store.require_current(captured.trace, loss)
            if World.current().size > 1:
                self._require_shareable(*batch)
        sandbox.restore()
        random.restore()
        _set_baselines(baselines)
        self._parameters = {
            name: leaf
            for name, leaf in param_leaves(captured.trace).items()
            if not name.startswith(BASELINE) and leaf.requires_grad
        }
        if not self._parameters:
            raise ValueError("expected a model or guide with parameters to train, got none")
        written = {f"tensor {i}": tensor for i, (tensor, _) in enumerate(sandbox.written)}
        owned = self._owned_buffers()
        known = {id(tensor) for tensor in (*self._parameters.values(), *owned.values())}
        self._buffers = owned | {name: t for name, t in written.items() if id(t) not in known}
        self._stored = len(pyro.get_param_store())

    def require_divisible(self, *batch: Tensor) -> None:
        """Refuse programs for which a batch of some of the data cannot stand for all of them.

        Raises:
            ValueError: see :meth:`ppl_gen.training.minibatches.Division.require`.
        """
        args, kwargs = ((), self._named(batch)) if self._names else (batch, {})
        division = Division(self.model, self.guide, args, kwargs)
        with self._left_alone():
            division.require(self._parameters, shared=not _is_weighed(self.objective))

    @property
    def players(self) -> dict[str, list[Tensor]]:
        unique = {id(leaf): leaf for leaf in self._parameters.values()}
        return {"pair": list(unique.values())}

    def losses(self, *batch: Tensor) -> Turns:
        return self._cycle().turns(batch)

    def cycle(self) -> Cycle | None:
        return self._cycle() if type(self).losses is Pair.losses else None

    def _cycle(self) -> Cycle:
        names = tuple(self.players)
        schedule = one_turn(names[0] if len(names) == 1 else names, self._loss)
        return Cycle(schedule, 1, self._advance, self._check, one=True)

    def evaluate(self, *batch: Tensor) -> dict[str, Tensor]:
        with self._left_alone(), torch.no_grad():
            loss, metrics = self._loss(*batch)
            count = self._num_data(*batch)
        schedules = _schedules(self.objective)
        found = {name: value for name, value in metrics.items() if name not in schedules}
        return found | {"loss": loss / count}

    def _num_data(self, *batch: Tensor) -> int:
        """For how many data the loss of a batch stands: all of a subsampled plate, or its rows."""
        rows = len(batch[0])
        if rows not in self._counts:
            with generators.seeded(0):
                self._counts[rows] = _size_of_plate(self._traces(*batch)[1], rows)
        return self._counts[rows]

    def _traces(self, *batch: Tensor) -> tuple[poutine.Trace, poutine.Trace]:
        """The guide's trace, and the model's replayed against it."""
        args, kwargs = ((), self._named(batch)) if self._names else (batch, {})
        drawn = poutine.trace(self.guide).get_trace(*args, **kwargs)
        replayed = poutine.replay(self.model, trace=drawn)
        return drawn, poutine.trace(replayed).get_trace(*args, **kwargs)

    def buffers(self) -> Iterable[Tensor]:
        return self._buffers.values()

    def nonfinite_sites(self, *batch: Tensor) -> list[str]:
        """The sites whose log-probability is not finite on this batch, ``x`` or ``z (guide)``."""
        args, kwargs = ((), self._named(batch)) if self._names else (batch, {})
        t = terms(self.model, self.guide, args, kwargs)
        found = [f"{site} (model)" for site, v in t.log_p.items() if not v.isfinite().all()]
        found += [f"{site} (guide)" for site, v in t.log_q.items() if not v.isfinite().all()]
        return found + ([] if t.log_lik.isfinite().all() else ["the observed sites"])

    def state_dict(self) -> dict[str, Any]:
        """Everything that steps change, and where programs that have not run yet look for it."""
        if not self._parameters:
            raise ValueError(
                "expected a pair that fit has trained, or that prepare(*batch) has run once, got "
                "one whose parameters are not known yet"
            )
        return {
            "parameters": {name: p.detach() for name, p in self._parameters.items()},
            "buffers": {name: b.detach() for name, b in self._buffers.items()},
            "baselines": _baselines(),
            "constraints": parameter_store.described(self._parameters),
            "homes": parameter_store.homes(self._parameters, self._reached()),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Put everything where it was; parameters may still have to be created by the programs."""
        if not self._parameters:
            return self._enter(state)
        for kind, own in ("parameters", self._parameters), ("buffers", self._buffers):
            if odd := sorted(set(own) ^ set(state[kind])):
                raise ValueError(f"expected the {kind} of this pair, {', '.join(odd)} differ")
            fill(own.values(), (state[kind][name] for name in own))
        _set_baselines(state["baselines"])

    def _enter(self, state: Mapping[str, Any]) -> None:
        own, stored = self._owned_buffers(), state["buffers"]
        if odd := sorted(set(own) ^ set(stored)):
            raise ValueError(
                f"expected the buffers of this pair, {', '.join(odd)} differ: if running the "
                "programs creates them, run pair.prepare(*batch) first"
            )
        parts = state["parameters"], state["constraints"], state["homes"]
        parameter_store.enter(*parts, self._reached())
        fill(own.values(), (stored[name] for name in own))
        _set_baselines(state["baselines"])

    def _reached(self) -> dict[str, nn.Module]:
        return parameter_store.modules(self.model, self.guide, self.objective)

    def __getstate__(self) -> dict[str, Any]:
        """The programs, and those parameters that only the store holds."""
        own = {name: value for name, value in vars(self).items() if name not in DERIVED}
        store = pyro.get_param_store()
        names = [n for n in self._parameters if n in store and parameter_store.DIVIDER not in n]
        for parameter in self._parameters.values():
            vars(parameter).pop("unconstrained", None)  # Pyro's weak reference
        kept = {n: (store._params[n], store._constraints[n]) for n in names}
        return own | {"stored": kept}

    def __setstate__(self, state: dict[str, Any]) -> None:
        stored = state.pop("stored")
        Pair.__init__(self, state["model"], state["guide"], state["objective"])
        vars(self).update(state)
        store = pyro.get_param_store()
        for name, (value, constraint) in stored.items():
            if name not in store:
                store.set_state({"params": {name: value}, "constraints": {name: constraint}})
            elif not torch.equal(store._params[name], value):
                raise ValueError(
                    f"expected no other value of {name!r} in Pyro's parameter store, which is "
                    "shared by all programs: call pyro.clear_param_store() first"
                )

    def _modules(self) -> list[nn.Module]:
        """The model, the guide and the objective, or what they are methods of."""
        parts = [getattr(p, "__self__", p) for p in (self.model, self.guide, self.objective)]
        return [part for part in dict.fromkeys(parts) if isinstance(part, nn.Module)]

    def _owned_buffers(self) -> dict[str, Tensor]:
        return {
            f"{name} of {type(module).__name__} {i}": buffer
            for i, module in enumerate(self._modules())
            for name, buffer in module.named_buffers()
        }

    @contextmanager
    def _left_alone(self) -> Iterator[None]:
        """Evaluate, and put everything back that running the programs changes."""
        before, baselines = [b.clone() for b in self.buffers()], _baselines()
        with ExitStack() as stack:
            for module in self._modules():
                stack.enter_context(evaluating(module))
            yield
        fill(self.buffers(), before)
        _set_baselines(baselines)

    def _advance(self, metrics: Mapping[str, Tensor]) -> None:
        if isinstance(self.objective, Objective):
            self.objective.update(metrics)

    def _check(self) -> None:
        """Refuse parameters that the optimiser does not have."""
        if self._stored in (None, len(pyro.get_param_store())):
            return
        new = set(pyro.get_param_store().keys()) - set(self._parameters)
        if late := sorted(name for name in new if not name.startswith(BASELINE)):
            raise ValueError(
                "expected the first batch to create every parameter, later ones created "
                f"{', '.join(late)}: call pyro.param for these on every batch"
            )
        self._stored = len(pyro.get_param_store())

    def _require_granted(self, *batch: Tensor) -> None:
        """Check what objectives of Pyro check where its validation is on; ours look themselves."""
        if isinstance(self.objective, KNOWN):
            try:
                traces = self._traces(*batch)
            except Exception:  # the loss will say what is wrong
                return
            require_granted(self.objective, *traces)

    def _require_shareable(self, *batch: Tensor) -> None:
        """Refuse programs whose losses on the parts of a batch do not sum to that on the whole."""
        drawn, observed = self._traces(*batch)
        for name, site in (*observed.nodes.items(), *drawn.nodes.items()):
            if site["type"] != "sample" or site_is_subsample(site):
                continue
            if (site["infer"] or {}).get("_deterministic"):
                continue
            local = any(frame.size == len(batch[0]) for frame in site["cond_indep_stack"])
            if not local or torch.as_tensor(site["scale"] != 1).any():
                raise ValueError(
                    f"expected every site in a plate over the batch, unscaled, so that processes "
                    f"can add their losses up, got {name!r}: train this pair in one process"
                )


def _schedules(objective: Any) -> dict[str, Schedule]:
    """The schedules of an objective that change, by attribute."""
    named = objective.named_modules() if isinstance(objective, Objective) else ()
    changing = ((n, m) for n, m in named if isinstance(m, Schedule) and not isinstance(m, Constant))
    return dict(changing)


def _is_weighed(objective: Any) -> bool:
    """Whether the user has weighed the latents against the data in another way."""
    weight = getattr(objective, "weight", None)
    return isinstance(weight, Constant) and weight.value.item() != 1


def _recording_schedules(loss: Loss, schedules: Mapping[str, Schedule]) -> Loss:
    """A loss whose metrics hold the values that some schedules have in it."""
    if not schedules:
        return loss

    def recorded(*args: Any, **kwargs: Any) -> tuple[Tensor, dict[str, Tensor]]:
        values = {name: schedule.value.clone() for name, schedule in schedules.items()}
        total, metrics = loss(*args, **kwargs)
        return total, metrics | {n: value for n, value in values.items() if n not in metrics}

    return recorded


def _size_of_plate(trace: poutine.Trace, rows: int) -> int:
    """The size of the plate of the data among those of the observed sites."""
    frames = [
        frame
        for site in trace.nodes.values()
        if site["type"] == "sample" and site["is_observed"] and not site_is_subsample(site)
        for frame in site["cond_indep_stack"]
        if rows in (frame.size, frame.full_size)
    ]
    return max((int(frame.full_size or frame.size) for frame in frames), default=rows)


def _baselines() -> dict[str, Tensor]:
    """The running averages that Pyro keeps in its parameter store."""
    store = pyro.get_param_store()
    return {n: store[n].detach().clone() for n in list(store.keys()) if n.startswith(BASELINE)}


def _set_baselines(values: Mapping[str, Tensor]) -> None:
    store = pyro.get_param_store()
    for name in _baselines().keys() - values.keys():
        del store[name]
    for name, value in values.items():
        store[name] = value


class _ModulePair(Pair):
    """A model of this package: its parameters are known and need no parameter store."""

    def __init__(self, module: Any):
        super().__init__(module.model, module.guide, module.objective)
        self.module = module

    def prepare(self, *batch: Tensor) -> None:
        self.module.check(batch[0])
        self.module.check_labels(batch[1] if len(batch) > 1 else None, len(batch[0]))
        named = self.module.named_parameters()
        self._parameters = {name: p for name, p in named if p.requires_grad}

    @property
    def players(self) -> dict[str, list[Tensor]]:
        """Those of the model, without those that have nothing to learn."""
        found = {n: [p for p in ps if p.requires_grad] for n, ps in self.module.players.items()}
        return {name: parameters for name, parameters in found.items() if parameters}

    @property
    def fit_defaults(self) -> Mapping[str, Any]:
        return getattr(self.module, "fit_defaults", {})

    @contextmanager
    def running(self) -> Iterator[None]:
        if not self.module.training:
            self.module.train()
        with unregistered():
            yield

    def buffers(self) -> Iterable[Tensor]:
        return self.module.buffers()

    def _num_data(self, *batch: Tensor) -> int:
        return len(batch[0])

    def require_divisible(self, *batch: Tensor) -> None:
        """A VAE computes the latents of every datum from it, and shares none."""

    def state_dict(self) -> dict[str, Any]:
        return self.module.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.module.load_state_dict(state)


def _is_pair(model: GenerativeModel) -> bool:
    return hasattr(model, "guide") and hasattr(model, "objective")


def as_trainable(model: Any) -> Trainable:
    """A :class:`Trainable` as it is, or the pair of a model that is one.

    Raises:
        ValueError: anything else.
    """
    if isinstance(model, GenerativeModel) and _is_pair(model):
        return _ModulePair(model)
    if hasattr(model, "players") and any(hasattr(model, name) for name in METHODS):
        return model
    if isinstance(model, (pyro.infer.SVI, pyro.infer.ELBO, ELBOModule)):
        raise ValueError(
            f"expected what is to be trained, got an object of {type(model).__name__}: pass "
            "ppl_gen.Pair(model, guide, objective), of an SVI ppl_gen.Pair(svi.model, svi.guide, "
            "its loss object), and the optimiser as optimizer=, one of torch.optim such as "
            "torch.optim.Adam"
        )
    raise ValueError(
        "expected a model of ppl_gen.zoo, a ppl_gen.Pair(model, guide, objective) or a Trainable, "
        f"got {type(model).__name__}"
    )
