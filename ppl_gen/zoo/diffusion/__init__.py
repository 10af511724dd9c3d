"""Diffusion models, by name."""
