"""Drawings of models and of answers."""
