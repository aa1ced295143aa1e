"""Build definitions: what a bake file (HCL or JSON) or a compose file says, resolved to the targets that are to be
built, each with everything a build needs to be asked for.

    files ─▶ hcl | compose ─▶ loading (evaluate, functions) ─▶ definition ─▶ resolution ─▶ targets

`hcl` parses, `evaluate` evaluates with the `functions` over `values`, `loading` makes a `definition` of a parsed file,
`compose` makes one of a compose file. Knows no daemon and no command line: `cli.bake` builds what comes out here.
"""
