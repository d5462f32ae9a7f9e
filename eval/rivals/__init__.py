"""CPU time of whole programs on the same recordings: see :mod:`.__main__`."""
