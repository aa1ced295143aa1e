"""The Dockerfile frontend: text to graph. `frontend` is the page to read first.

lex, parser, instructions     the text as instructions
shell, expansion, variables   variables
context, named, sources       where files come from
convert                       instructions to steps and an image config
lint, lint_text, lint_build   remarks
subrequests                   questions that build nothing
"""
