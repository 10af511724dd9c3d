"""What people type: names, signs, statements, factorizations and graphs as text."""
