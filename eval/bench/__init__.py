"""What encoder and agent cost, against what the machine could do; docs/speed.md explains it."""
