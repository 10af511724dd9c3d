"""What all models that go from noise to data in steps have in common: how one samples."""

from __future__ import annotations

from typing import Any, Literal, overload

import torch
from torch import Tensor

from ppl_gen.models.base import GenerativeModel
from ppl_gen.samplers import Frames, Sampler
from ppl_gen.samplers.streams import Seed


class FromNoise(GenerativeModel):
    """A model with a diffusion inside; a subclass defines :meth:`_draw`."""

    @overload
    def sample(
        self,
        n: int,
        y: Any = None,
        *,
        steps: int | None = ...,
        sampler: str | Sampler | None = ...,
        guidance: float = ...,
        seed: Seed = ...,
        batch_size: int | None = ...,
        frames: Literal[False] = ...,
        progress: bool = ...,
        staged: bool = ...,
    ) -> Tensor: ...

    @overload
    def sample(
        self,
        n: int,
        y: Any = None,
        *,
        steps: int | None = ...,
        sampler: str | Sampler | None = ...,
        guidance: float = ...,
        seed: Seed = ...,
        batch_size: int | None = ...,
        frames: Literal[True],
        progress: bool = ...,
        staged: bool = ...,
    ) -> tuple[Tensor, Frames]: ...

    @torch.no_grad()
    def sample(
        self,
        n: int,
        y: Any = None,
        *,
        steps: int | None = None,
        sampler: str | Sampler | None = None,
        guidance: float = 1.0,
        seed: Seed = None,
        batch_size: int | None = None,
        frames: bool = False,
        progress: bool = False,
        staged: bool = False,
    ) -> Tensor | tuple[Tensor, Frames]:
        r"""``(n, *data_shape)`` draws, each from a random stream of its own.

        Args:
            n: how many.
            y: what a conditional model is told, ``(n, ...)`` or one for all: labels as numbers or
                names, or captions as text or indices.
            steps: how many steps from noise to data, at most ``T``; ``sample_steps`` by default.
            sampler: a sampler or its name, the model's own by default. One that visits evenly
                spaced times is given those among the ``T`` that were trained.
            guidance: the weight :math:`w` of :class:`ppl_gen.denoisers.Guided`: 0 looks at no
                label, 1 is the conditional model, more sharpens.
            seed: a whole number, or ``n`` of them, one a sample.
            batch_size: how many at a time; the samples do not depend on it, up to rounding.
            frames: whether to return what was passed through too, as data.
            progress: whether to show a bar over the steps on standard error.
            staged: whether the denoiser runs as compiled code, which pays for many samples: see
                :class:`ppl_gen.denoisers.Staged`.

        Raises:
            StagingError: a denoiser that cannot be staged, if it has to be.
            ValueError: labels that are missing, unknown or not wanted; guidance without labels or
                not from 0; steps above ``T``; see :meth:`ppl_gen.samplers.Sampler.sample`.
        """
        how: dict[str, Any] = {"steps": steps, "sampler": sampler, "guidance": guidance}
        how |= {"seed": seed, "batch_size": batch_size, "frames": frames, "progress": progress}
        how["staged"] = staged
        return self._draw(n, y, **how)

    def _draw(self, n: int, y: Any, **how: Any) -> Any:
        """What :meth:`sample` gives for all of its arguments."""
        raise NotImplementedError
