"""simulstream's server and evaluation with this system: see :mod:`.processor`."""
