"""Base images without a registry: made from a distribution's own archive or from a static binary."""
