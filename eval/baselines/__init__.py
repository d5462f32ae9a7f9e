"""Systems of others, rebuilt from this project's parts, for comparison."""
