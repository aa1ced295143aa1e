"""Containers of images."""
