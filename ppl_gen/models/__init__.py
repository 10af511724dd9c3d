"""Generative models assembled from parts, and what they are given."""
