"""From parsed bake files to a definition: variables, functions and blocks that refer to each other, in any order."""
