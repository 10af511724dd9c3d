"""Parameters from data: tables of a given structure, fitted to rows, with standard errors."""
