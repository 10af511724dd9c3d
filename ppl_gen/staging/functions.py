"""A loss as a training step."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor

from ppl_gen.staging.staged import Loss, StagedFunction


def stage_function(
    function: Loss,
    parameters: Iterable[Tensor],
    *,
    staged: str | bool = "auto",
    backend: str | None = None,
) -> StagedFunction:
    """A loss as a step: called like the loss, it leaves the gradients of some parameters behind.

    Args:
        function: returns the loss, a 0-d tensor, and metrics, a dictionary of 0-d tensors. Its
            arguments are tensors and plain Python values, nested as one likes.
        parameters: leaf tensors; each call *replaces* their ``.grad``, and that of no others.
        staged: ``"auto"`` runs eagerly, with one :class:`StagingWarning` that says why, where the
            function cannot be staged; ``True`` raises instead; ``False`` is always eager.
        backend: ``"inductor"`` compiles, ``"eager"`` runs the graph operation by operation; by
            default Inductor is used where there is a compiler for it.

    Returns:
        A callable that returns the loss, detached, and the metrics. Eager steps run without Pyro's
        validation, and draw the same random numbers as staged ones.

    Raises:
        ValueError: no parameters, or other tensors than leaves; an unknown mode; when called, a
            loss that is no 0-d tensor or depends on no parameter.
        StagingError: when called, if ``staged`` is True and the function cannot be staged.
    """
    named = {f"parameter {i}": parameter for i, parameter in enumerate(parameters)}
    odd = [p for p in named.values() if not (isinstance(p, Tensor) and p.is_leaf)]
    if odd or not named:
        raise ValueError(f"expected parameters that are leaf tensors, got {odd or 'none'}")
    return StagedFunction(function, named, staged, backend)
