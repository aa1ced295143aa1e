"""Registries: a client that pulls, pushes and copies. Blocking and thread-safe; callers on an event loop use threads.

    hosts       where a registry's API is served: mirrors, plain HTTP, certificates
    transport   requests and answers over pooled connections, repeated when that may help, stopped when told to
    challenge   what a registry asks for when it answers 401
    credential  what it is given
    tokens      from the one to the other, remembered
    repository  the calls of the distribution API on one repository
    pull, push, copy, referrers   whole images and what refers to them
    dockerconfig  credentials as Docker's clients keep them

Specification: OCI distribution-spec 1.1; distribution's token authentication.
"""
