"""A user's script for ``make lint``: types are seen as installed, and both mistakes are found.

An ignored line without its mistake is an error of ``mypy --strict``, and so are types that are
missing altogether.
"""

import torch

import graphs
import ppl_gen

answer = graphs.query(graphs.textbook.diagnosis(), "M _||_ F | D")
held: bool = answer.holds
graphs.query(graphs.textbook.diagnosis(), 3)  # type: ignore[arg-type]

vae = ppl_gen.zoo.beta_vae((1, 28, 28), latent_dim=2, beta=4.0, hidden=32)
ppl_gen.zoo.beta_vae((1, 28, 28), latent=2)  # type: ignore[call-arg]
codes: torch.Tensor = vae.code(torch.zeros(2, 1, 28, 28))
