"""Stated claims checked: which theorem makes them true, or what is wrong with them."""
