"""Compose files as build definitions: their services with `build:` are targets.

Specification: compose-spec (build.md, interpolation, merge, extends, include); docker/buildx, bake/compose.go.
"""
