"""What a server allows."""

from dataclasses import dataclass, fields
from pathlib import Path

from echostream.errors import ConfigError
from echostream.system_arguments import flag

AHEAD_OF_CHUNK_MS = 40
"""Audio is held until so little is missing of a chunk: the work for each message is the same
however short it is, and clients send 20 ms at a time. A front end that had kept some audio back
gives no more than that on top."""

MAX_BAD_MESSAGES = 20
"""Of one client; then the connection is closed."""

MAX_AHEAD_MS = 10_000
"""Audio of one client that may wait; a client that sends faster is read from more slowly."""


_FROM_0 = ("port", "processes", "drain_s", "resume_s", "save_s")


@dataclass(frozen=True)
class ServerOptions:
    """Limits are per client unless they say otherwise; times are in seconds."""

    host: str = "127.0.0.1"
    port: int = 8080
    """0 takes any that is free."""
    max_clients: int = 16
    """Together; further ones are refused with HTTP 503."""
    max_batch: int = 8
    """Streams in one call of the encoder."""
    processes: int = 0
    """That compute; 0 for one for each ``max_batch`` of ``max_clients``, at most one a core."""
    max_message_bytes: int = 1 << 20
    max_messages: int = 1000
    """A second; more are taken more slowly."""
    idle_s: float = 60.0
    """Without a message a connection is closed."""
    send_s: float = 60.0
    """In which a message must have left; a client that does not read is dropped then."""
    resume_s: float = 30.0
    """For which a stream whose connection broke is kept, if its client asked for that."""
    streams: Path | None = None
    """Folder in which such streams are kept, so that other servers which share it can take them
    up, and to which SIGTERM sends them."""
    save_s: float = 0.0
    """After so long streams with a token are written to the folder again and again, for the case
    that the server is killed; 0 does not."""
    drain_s: float = 20.0
    """For which running streams may go on after SIGTERM, before the server ends them."""
    origins: tuple[str, ...] = ()
    """Hosts whose pages may connect besides the server's own, such as ``example.org``."""
    token: str | None = None
    """That clients must show."""
    certificate: Path | None = None
    """PEM, for TLS."""
    key: Path | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            least = 0 if field.name in _FROM_0 else 1
            if isinstance(value, int | float) and value < least:
                raise ConfigError(f"{flag(field.name)} is {value}; expected at least {least}")
        if self.token is not None and len(self.token) < 8:
            raise ConfigError(
                f"the token has {len(self.token)} characters; expected at least 8, such as "
                "`openssl rand -hex 16` gives"
            )
        if self.save_s and self.streams is None:
            raise ConfigError("--save-s was given without --streams; expected both")
        if self.key is not None and self.certificate is None:
            raise ConfigError("--key was given without --certificate; expected both")
