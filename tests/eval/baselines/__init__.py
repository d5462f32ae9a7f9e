"""Systems of others."""
