"""The builders that are measured, behind one protocol."""
