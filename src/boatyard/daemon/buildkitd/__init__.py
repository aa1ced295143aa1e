"""`boat-buildkitd`: the daemon behind buildkitd's own command line and configuration file.

    document     buildkitd.toml as values
    flags        its command line
    translation  both, as the daemon's own configuration
    main         the program

Nothing else of the daemon knows of this: it is started as `boatd` is, with a configuration made here.
"""
