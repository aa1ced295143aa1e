"""Expressions to values: operators, access, templates, calls, type expressions."""
