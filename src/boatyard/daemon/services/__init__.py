"""What the native API asks for (`api.native.services`), done by the builder, the image store and the engine.

One module a noun; each turns documents into the values of the layers below and back. Nothing is decided here.
"""
