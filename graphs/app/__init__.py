"""What the command line reads, and its answers about data, large models and time."""
