"""What :mod:`scripted_pieces_agent` writes; apart from it, for tests that run without SimulEval."""

# Per utterance: what to write after which segment; the last entry goes out at the end.
PIECES: list[tuple[dict[int, str], str]] = [
    ({1: "▁The", 2: "▁c at ▁sa", 4: "t"}, "▁on ▁the ▁m at ."),
    ({}, ""),
    ({2: "▁One ▁two ▁th", 3: "ree ▁four"}, "▁fi ve"),
    ({}, "▁A ll ▁at ▁the ▁end ."),
]
