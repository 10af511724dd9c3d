"""The numbers of discrete models: tables, their labels, and states."""
