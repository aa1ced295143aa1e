"""Source policies: which sources a build may use, and what it uses in their place.

    rule         policies as values
    pattern      selectors' patterns, and the templates that take up what they matched
    engine       policies on one source: pure
    identifier   the one spelling of a source that policies see
    verdict      what a client that judges for itself is told, and what it answers
    rewrite      a graph with other sources in it: pure
    gate         one build's: every source passes here before anything looks at it

The meaning of rules is BuildKit's (moby/buildkit `sourcepolicy/`).
"""
