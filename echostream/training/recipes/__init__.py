"""Data recipes: from packages that any Debian machine can fetch to audio and manifests.

A recipe (`recipe.Recipe`) is a table of corpora; each corpus has a reader module that knows one
layout on disk (`asterisk`, `tuxpaint`, `drascula`) and nothing about languages it was not told.
"""
