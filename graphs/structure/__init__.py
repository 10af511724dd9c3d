"""Any model as a graph, and what can be read off it without a question."""
