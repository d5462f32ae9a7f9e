"""Verification: every encoder, every way to push audio, as often as asked."""

import dataclasses
import logging
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from echostream.audio import FrontEnd
from echostream.backend import default_cache
from echostream.errors import ConfigError
from echostream.locations import find_checkpoint
from echostream.machine import machine, versions
from echostream.model import SpeechModel
from echostream.session import SystemOptions, Translator, build_translator
from echostream.shipped import SHIPPED_CHECKPOINT
from echostream.verification.agent_scenarios import AGENT, with_encoder
from echostream.verification.certificate import Certificate, ScenarioResult, System
from echostream.verification.difference import Tally
from echostream.verification.scenarios import PLAIN, Scenario, Trial, scenarios_of
from echostream.verification.settings import Settings
from echostream.verification.subjects import Backends, Subject, subjects_of

CRASH = "crash"
"""The module named where a stream ended in an exception."""

SCENARIOS = (*PLAIN, *AGENT)

_NOT_FOR_THE_BASELINE = "agent: saved and restored"

logger = logging.getLogger(__name__)


def verify_system(
    options: SystemOptions, settings: Settings, *, cache: Path | None = None
) -> Certificate:
    """Verify a checkpoint, by default the shipped one, or random weights with a forced writer.

    ``cache`` is the folder for exported graphs; ``None`` for the checkpoint's own.

    Raises:
        CheckpointError: if the checkpoint cannot be loaded.
        ConfigError: if the configuration is wrong, or there is no such backend or precision.
    """
    trained = options.random_weights is None
    name = str(options.random_weights)
    if trained:
        folder = find_checkpoint(options.checkpoint or SHIPPED_CHECKPOINT)
        # By default where the agent looks: the graphs that are verified are those it runs.
        name, cache = folder.name, cache or default_cache(folder)
    return verify(build_translator(options), settings, name=name, trained=trained, cache=cache)


def verify(
    translator: Translator,
    settings: Settings,
    *,
    name: str,
    trained: bool = True,
    cache: Path | None = None,
    backends: Backends | None = None,
) -> Certificate:
    """Compare streams with offline runs.

    Args:
        translator: the agent; its model is on the CPU.
        settings: what and how thoroughly.
        name: of the system, for the certificate.
        trained: whether the model can say words; otherwise they are forced.
        cache: folder for exported graphs.
        backends: besides torch; ``None`` for those that are installed.

    Raises:
        ConfigError: if there is no such scenario, backend or precision.
    """
    unknown = [each for each in settings.scenarios if each not in SCENARIOS]
    if unknown:
        raise ConfigError(f"--scenario is {unknown[0]!r}; expected one of {', '.join(SCENARIOS)}")
    started = time.monotonic()
    model = translator.listener.model
    subjects = subjects_of(
        model,
        backend=settings.backend,
        precision=settings.precision,
        threads=settings.threads,
        cache=cache,
        backends=Backends.fastest() if backends is None and settings.quick else backends,
    )
    results = [
        result
        for subject in subjects
        for result in _verify_subject(subject, translator, settings, trained)
    ]
    return Certificate(
        system=System.of(name, model, trained=trained),
        settings=dataclasses.asdict(settings),
        versions=versions(),
        machine=machine(),
        results=tuple(results),
        left_out=_left_out(model, subjects, settings.quick),
        seconds=time.monotonic() - started,
    )


def _verify_subject(
    subject: Subject, translator: Translator, settings: Settings, trained: bool
) -> Iterator[ScenarioResult]:
    tolerance = settings.tolerance * subject.tolerance_factor
    placed = with_encoder(translator, subject.encoder)
    for name, scenario in _scenarios(subject, translator).items():
        if settings.scenarios and name not in settings.scenarios:
            continue
        logger.info("%s: %s", subject.name, name)
        started = time.monotonic()
        tally = Tally(tolerance)
        for tally.trial in range(settings.trials):
            seed = settings.seed, SCENARIOS.index(name), tally.trial
            chance = np.random.default_rng(seed)
            trial = Trial(subject, placed, not trained, chance, settings.seconds, tally)
            try:
                scenario(trial)
            except Exception as error:
                # That a stream crashes is a finding, and the others are still to be looked at.
                logger.info("%s: %s, trial %d", subject.name, name, tally.trial, exc_info=True)
                tally.fail(CRASH, f"{type(error).__name__}: {error}")
        yield ScenarioResult(
            backend=subject.backend,
            precision=" ".join((subject.precision, *map(str, subject.streaming.values()))),
            scenario=name,
            trials=settings.trials,
            tolerance=tolerance,
            differences=tally.differences,
            seconds=time.monotonic() - started,
        )


def _scenarios(subject: Subject, translator: Translator) -> dict[str, Scenario]:
    """Those that a subject can go through."""
    can = subject.encoder.capabilities
    found = scenarios_of(subject)
    # A baseline whose own mode is to start over has an agent that does so too.
    starts_over = not isinstance(translator.listener.front_end, FrontEnd)
    mode = subject.streaming.get("mode", "cached")
    if subject.precision != "float64" and mode == "cached" and not starts_over:
        left_out = "" if can.portable_state else _NOT_FOR_THE_BASELINE
        found |= {name: scenario for name, scenario in AGENT.items() if name != left_out}
    return found


def _left_out(model: SpeechModel, subjects: tuple[Subject, ...], quick: bool) -> tuple[str, ...]:
    notes = []
    if not model.encoder.capabilities.portable_state:
        notes.append("saving and restoring: this encoder's streams cannot be saved")
    if "recompute" in model.encoder.capabilities.modes:
        notes.append("agent in mode recompute: its encoder is verified, its front end starts over")
    if not any(subject.backend != "torch" for subject in subjects):
        notes.append("compiled backends: none was asked for, is installed, or fits the encoder")
    if quick:
        notes.append("other compiled backends and int8, if installed: left out by --quick")
    if any(subject.precision == "float64" for subject in subjects):
        notes.append("agent in float64: the front end gives float32")
    return tuple(notes)
