"""Verification that streaming equals offline, module by module, in every backend."""
