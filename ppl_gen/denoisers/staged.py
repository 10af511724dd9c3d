"""A denoiser that runs as compiled code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ppl_gen._modes import is_readable
from ppl_gen.denoisers.base import DenoiserBase
from ppl_gen.denoisers.guidance import Clipped
from ppl_gen.denoisers.prediction import Prediction, convert
from ppl_gen.noise import Level
from ppl_gen.staging import StagingError, backends
from ppl_gen.staging.comparison import Outcome, difference
from ppl_gen.staging.environment import Environment
from ppl_gen.staging.recording import NotStageable, Recording, record
from ppl_gen.staging.torch_internals import why_not_compiled

MOST = 16  # graphs, one for each combination of shapes and Python values
PARTS = ("value", "fraction", "error")


@dataclass
class _Graph:
    """A call that has been recorded and compiled, and what must hold for it to serve others."""

    run: backends.Run
    recording: Recording
    environment: Environment
    kind: str
    parts: tuple[str, ...]
    calls: int = 1

    def __post_init__(self) -> None:
        self.layout = _layout(self.recording.lifted)

    def serves(self) -> bool:
        return _layout(self.recording.lifted) == self.layout and self.environment.holds()

    def __call__(self, given: Sequence[Tensor], run: backends.Run | None = None) -> dict[str, Any]:
        found = (run or self.run)(*given, *self.recording.lifted)
        return dict(zip(self.parts, found, strict=True))


class Staged(DenoiserBase):
    """A denoiser whose calls run as compiled code, the same up to rounding.

    A call of a new kind, by shapes and types of what it is given, is recorded as a graph of tensor
    operations, which is compiled, and compared with the eager call then and at the 2nd, 4th, 8th,
    ... of its kind. The code is kept for other processes, like that of ``fit``. A U-Net takes about
    three quarters of its time and half a minute to compile once, so that this pays where many
    batches of one size are drawn. Weights may change meanwhile. Where gradients are asked for, the
    denoiser's own code runs.

    Args:
        denoiser: any denoiser whose code looks at no values of tensors.

    Raises:
        ValueError: something that is no denoiser.
        StagingError: when called, a denoiser that cannot be recorded or compiled, with the reason;
            a graph that gives other values.

    >>> data = ppl_gen.denoisers.Gaussian(ppl_gen.noise.Cosine(), torch.zeros(2), 1.0)
    >>> staged = ppl_gen.denoisers.Staged(data)
    >>> x, u = torch.randn(8, 2), torch.tensor(0.5)
    >>> bool(staged(x, u).data.allclose(data(x, u).data))
    True
    """

    def __init__(self, denoiser: DenoiserBase):
        if not isinstance(denoiser, DenoiserBase):
            raise ValueError(f"expected a denoiser, got {denoiser!r}")
        super().__init__(denoiser.noise, denoiser.data_shape)
        self.denoiser = denoiser
        self._graphs: dict[Any, list[_Graph]] = {}

    def forward(self, x: Tensor, u: Tensor, y: Any = None) -> Prediction:
        if torch.is_grad_enabled() or not is_readable(x):
            return self.denoiser(x, u, y)
        given = [x, torch.as_tensor(u, device=x.device)]
        given += [] if y is None else [torch.as_tensor(y, device=x.device)]
        key = tuple(_layout(given))
        graph = next((graph for graph in self._graphs.get(key, ()) if graph.serves()), None)
        if graph is None:
            if sum(map(len, self._graphs.values())) >= MOST:
                self._graphs.clear()
            graph = self._made(given)
            self._graphs.setdefault(key, []).append(graph)
        elif graph.calls.bit_count() == 1:
            self._require_equal(given, self._eagerly(given), graph(given))
        graph.calls += 1
        return Prediction(graph.kind, x=x, level=self.noise.level(given[1]), **graph(given))

    def _require_equal(
        self, given: Sequence[Tensor], expected: dict[str, Any], found: dict[str, Any]
    ) -> None:
        words = _difference(expected, found)
        level = self.noise.level(given[1])
        if words and isinstance(self.denoiser, Clipped) and bool((level.sigma > 0).all()):
            # data told from noise carry its rounding, sigma / alpha times
            words = _difference(*(_as_noise(parts, given[0], level) for parts in (expected, found)))
        if words:
            raise StagingError(f"staged, this denoiser gives another prediction: its {words}")

    def _eagerly(self, given: Sequence[Tensor]) -> dict[str, Any]:
        return _parts(self.denoiser(*given))

    def _made(self, given: list[Tensor]) -> _Graph:
        kinds = []

        def call(*tensors: Tensor) -> list[Tensor]:
            found = self.denoiser(*tensors)
            kinds.append(found.kind)
            return list(_parts(found).values())

        expected = self._eagerly(given)
        environment = Environment({"denoiser": self.denoiser})
        try:
            recording = record(call, given)
        except NotStageable as refusal:
            raise StagingError(f"this denoiser cannot be staged: {refusal}") from refusal
        if recording.written:
            raise StagingError("this denoiser cannot be staged: it writes to its tensors")
        graph = _Graph(recording.module, recording, environment, kinds[0], tuple(expected))
        self._require_equal(given, expected, graph(given))
        inputs = [*given, *recording.lifted]
        if obstacle := why_not_compiled({tensor.device for tensor in inputs}):
            raise StagingError(f"this denoiser cannot be compiled: {obstacle}")
        graph.run = backends.compiled(recording.module, inputs)
        try:
            self._require_equal(given, expected, graph(given))
        except StagingError:
            if not backends.forget(graph.run):  # else another process had compiled it
                raise
            graph.run = backends.compiled(recording.module, inputs)
            self._require_equal(given, expected, graph(given))
        return graph


def _parts(found: Prediction) -> dict[str, Any]:
    return {name: part for name in PARTS if (part := getattr(found, name)) is not None}


def _difference(expected: dict[str, Any], found: dict[str, Any]) -> str | None:
    return difference(Outcome(expected, {}), Outcome(found, {}))


def _as_noise(parts: dict[str, Any], x: Tensor, level: Level) -> dict[str, Any]:
    """Parts of a prediction of data, with the noise in its place."""
    return {**parts, "value": convert(parts["value"], x, level, "data", "noise")}


def _layout(tensors: Sequence[Tensor]) -> list[Any]:
    return [(t.shape, t.stride(), t.dtype, t.device, t.requires_grad) for t in tensors]
