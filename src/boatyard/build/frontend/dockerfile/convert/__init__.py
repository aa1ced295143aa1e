"""From a parsed Dockerfile to a graph and an image config. `converter` is the page to read first."""
