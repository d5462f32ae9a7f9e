"""Flight records: read what ``--record`` wrote, do it again, find the first difference."""

from echostream.flight.playback import Difference, Outcome, differing_settings, play
from echostream.flight.record import FlightRecord, read_record
from echostream.flight.sources import Sources

__all__ = [
    "Difference",
    "FlightRecord",
    "Outcome",
    "Sources",
    "differing_settings",
    "play",
    "read_record",
]
