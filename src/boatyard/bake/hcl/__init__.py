"""HCL, both syntaxes, from text to a tree: blocks and attributes, and expressions that aren't evaluated yet.

Specification: hashicorp/hcl v2, hclsyntax/spec.md (native) and json/spec.md.
"""
