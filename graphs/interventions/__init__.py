"""What happens when a variable is set: cut arrows, what to adjust for, effects in numbers."""
