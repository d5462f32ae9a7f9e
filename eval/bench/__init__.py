"""What the encoder and the agent cost, against what the machine could do.

``eval/bench_encoder.py`` is the command; ``docs/speed.md`` says how to read what it prints.
"""
