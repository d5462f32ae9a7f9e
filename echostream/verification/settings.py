"""What ``echostream verify`` can be told."""

from dataclasses import dataclass

from echostream.errors import ConfigError

PRECISIONS = ("all", "float32", "float64", "int8")


@dataclass(frozen=True)
class Settings:
    """What to verify and how thoroughly."""

    backend: str = "all"
    precision: str = "all"
    quick: bool = False
    """Of compiled backends only the fastest, in float32."""
    seconds: float = 6.0
    """Audio of a recording, s: each is half to all of it."""
    trials: int = 2
    """Of each scenario."""
    scenarios: tuple[str, ...] = ()
    """Only these; with none, all."""
    seed: int = 0
    tolerance: float = 1e-5
    """Of float32 numbers up to 1; in proportion for larger ones. float64: 1e-5 times that; float32
    of a compiled backend against torch: 4 times."""
    threads: int = 1

    def __post_init__(self) -> None:
        for name, least in (("trials", 1), ("seed", 0), ("threads", 1)):
            if getattr(self, name) < least:
                raise ConfigError(
                    f"--{name} is {getattr(self, name)}; expected a number from {least} on"
                )
        if not 0.5 <= self.seconds <= 600:
            raise ConfigError(f"--seconds is {self.seconds}; expected a number from 0.5 to 600")
        if not 0 < self.tolerance < 1:
            raise ConfigError(f"--tolerance is {self.tolerance}; expected a number from 0 to 1")
