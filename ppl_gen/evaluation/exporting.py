"""Encoders and decoders as files that run without this package, compared with it once written."""

from __future__ import annotations

import importlib.util
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyro
import torch
from torch import Tensor, nn

from ppl_gen.models.partial_labels import PartlyLabelledVAE
from ppl_gen.models.vae import VAE, require_vae

PARTS = ("decoder", "encoder")
# What writes a file of ONNX, and what runs it to be compared.
ONNX_PACKAGES = ("onnx", "onnxscript", "onnxruntime")
Run = Callable[[tuple[Tensor, ...]], Tensor]


class _Encoder(nn.Module):
    """Data to the code at the posterior means."""

    def __init__(self, vae: VAE):
        super().__init__()
        self.vae = vae

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        above = [] if condition is None else [condition]
        for latent in self.vae.latents:
            above.append(latent.posterior(x, *above).mean)
        return above[-1]


class _Decoder(nn.Module):
    """Codes to mean data."""

    def __init__(self, vae: VAE):
        super().__init__()
        self.vae = vae

    def forward(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        given = () if condition is None else (condition,)
        return self.vae.likelihood.mean_image(self.vae.likelihood(self.vae.decoder(z, *given)))


def export(
    model: VAE,
    path: str | os.PathLike[str],
    *,
    part: str = "decoder",
    tolerance: float = 1e-4,
) -> float:
    """Write the encoder or the decoder of a VAE as a program, and compare it with the model.

    The encoder maps data ``(B, *data_shape)`` to codes ``(B, Z)`` at the posterior means, the
    decoder codes to mean data; both take a batch of any size, and of a conditional model the
    condition as networks see it, ``(B, C)``, as their second input. The file is read back and run
    on two batches of different sizes.

    Args:
        model: a VAE.
        path: a file that ends in ``.pt2``, for ``torch.export.load``, or in ``.onnx``.
        part: ``"decoder"`` or ``"encoder"``.
        tolerance: the largest difference from the model, as a share of the largest output.

    Returns:
        The largest difference that was seen, as such a share.

    Raises:
        ValueError: another model, part or ending, a folder that is not there, a part that cannot be
            written as one graph, or a file whose results differ; then no file is left.
        ImportError: a package that ONNX needs is not installed.

    >>> vae = ppl_gen.zoo.vae((4,), 2, hidden=8)
    >>> ppl_gen.export(vae, "decoder.pt2") < 1e-6
    True
    >>> decode = torch.export.load("decoder.pt2").module()
    >>> decode(torch.zeros(3, 2)).shape
    torch.Size([3, 4])
    """
    require_vae(model, " to export")
    if isinstance(model, PartlyLabelledVAE):
        raise ValueError(
            "expected a VAE to export whose code depends on data alone, got PartlyLabelledVAE, "
            "which draws the labels that it lacks"
        )
    target = Path(path)
    if part not in PARTS:
        raise ValueError(f"expected 'decoder' or 'encoder', got {part!r}")
    if target.suffix not in (".pt2", ".onnx"):
        raise ValueError(f"expected a file name that ends in .pt2 or .onnx, got {str(path)!r}")
    if not target.parent.is_dir():
        raise ValueError(f"expected an existing folder for {target.name}, got {target.parent}")
    if target.suffix == ".onnx":
        _require_packages()
    module = (_Encoder if part == "encoder" else _Decoder)(model)
    modes = [(inner, inner.training) for inner in model.modules()]
    try:
        module.eval()
        with torch.no_grad(), pyro.validation_enabled(False):
            return _written(module, model, part, target, tolerance)
    finally:
        for inner, training in modes:
            inner.training = training


def _written(module: nn.Module, model: VAE, part: str, target: Path, tolerance: float) -> float:
    partial = target.with_name(f".partial-{target.name}")
    write = _write_onnx if target.suffix == ".onnx" else _write_torch
    try:
        run = write(module, _inputs(model, part, 2), partial)
        worst = max(_difference(module, run, _inputs(model, part, size)) for size in (2, 5))
        if not worst <= tolerance:
            raise ValueError(
                f"expected a program that agrees to {tolerance:g}, got one that differs by "
                f"{worst:.3g} of the largest output"
            )
        os.replace(partial, target)
        return worst
    finally:
        partial.unlink(missing_ok=True)


def _inputs(model: VAE, part: str, size: int) -> tuple[Tensor, ...]:
    """A batch for a part, drawn from a seed."""
    generator = torch.Generator().manual_seed(size)
    shape = model.data_shape
    if part == "decoder":
        with torch.no_grad():
            shape = tuple(_Encoder(model)(*_inputs(model, "encoder", 1)).shape[1:])
    like = model.like

    def drawn(*dims: int) -> Tensor:
        return torch.rand(*dims, generator=generator, dtype=like.dtype).to(like.device)

    condition = (drawn(size, model.condition.size),) if model.condition.size else ()
    return drawn(size, *shape), *condition


def _write_torch(module: nn.Module, inputs: tuple[Tensor, ...], path: Path) -> Run:
    torch.export.save(_program(module, inputs), path)
    loaded = torch.export.load(path).module()
    return lambda given: loaded(*given)


def _program(module: nn.Module, inputs: tuple[Tensor, ...]) -> torch.export.ExportedProgram:
    batch = torch.export.Dim("batch", min=1)
    shapes: tuple[dict[int, Any], ...] = tuple({0: batch} for _ in inputs)
    try:
        return torch.export.export(module, inputs, dynamic_shapes=shapes, strict=False)
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ValueError(f"expected a part that is one graph, got from torch: {reason}") from error


def _write_onnx(module: nn.Module, inputs: tuple[Tensor, ...], path: Path) -> Run:
    import onnxruntime

    exported = _program(module, inputs)
    with warnings.catch_warnings():
        # torch's converter uses what torch itself deprecates
        warnings.simplefilter("ignore", FutureWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        program: Any = torch.onnx.export(exported, dynamo=True, verbose=False)
    program.save(path, external_data=False)
    session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    names = [node.name for node in session.get_inputs()]

    def run(given: tuple[Tensor, ...]) -> Tensor:
        fed = {name: x.cpu().numpy() for name, x in zip(names, given, strict=True)}
        return torch.from_numpy(session.run(None, fed)[0])

    return run


def _difference(module: nn.Module, run: Run, inputs: tuple[Tensor, ...]) -> float:
    expected, found = module(*inputs).cpu(), run(inputs).cpu()
    if found.shape != expected.shape:
        raise ValueError(
            f"expected outputs of shape {tuple(expected.shape)}, the file gives "
            f"{tuple(found.shape)}"
        )
    scale = expected.abs().max().clamp_min(torch.finfo(expected.dtype).tiny)
    return float((found - expected).abs().max() / scale)


def _require_packages() -> None:
    missing = [name for name in ONNX_PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise ImportError(
            f"expected {', '.join(ONNX_PACKAGES)} to write ONNX, got no {', '.join(missing)}: "
            "pip install ppl-gen[onnx]"
        )
