"""What is independent of what, and why."""
