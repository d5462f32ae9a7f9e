"""The SimulEval agents."""
