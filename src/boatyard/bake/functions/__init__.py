"""The functions that expressions may call: those of `docker buildx bake`, by the same names.

Specification: docker/buildx, docs/bake-stdlib.md; zclconf/go-cty, cty/function/stdlib.
"""
