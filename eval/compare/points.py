"""Systems, figures of their runs with intervals, and tests on the same recordings."""

from collections.abc import Sequence
from itertools import product

from echostream.config import ChunkConformerConfig
from echostream.config_mapping import parse_options
from echostream.model import SpeechModel
from echostream.scoring.instance import Instance
from echostream.scoring.intervals import samples_of
from echostream.scoring.readings import Reading
from echostream.scoring.scores import score_instances
from echostream.scoring.significance import approximate_randomisation, bootstrap
from eval.compare.grid import Run
from eval.compare.plan import ComparisonPlan, SystemEntry
from eval.compare.schema import Joint, Paired, Point, Score, System
from eval.sweep.system import parse_policy

LATENCIES = ("LAAL", "AL", "DAL", "ATD", "YAAL", "StartOffset", "EndOffset")
"""In three readings each, beside compute RTF."""
PLOTTED = ("LAAL", "BLEU")
"""The two that a curve is drawn of."""
TESTED = (
    ("BLEU", "higher"),
    ("chrF", "higher"),
    ("LAAL", "lower"),
    ("LAAL_CA", "lower"),
    ("LAAL_RT", "lower"),
    ("compute_RTF", "lower"),
)
"""What systems are compared in, and which way is better."""
TESTED_UNTRAINED = TESTED[-3:]
"""Without compute an untrained system is its policy's schedule, the same for all."""
_AT_THE_END = 0.5


def figures_of(*, trained: bool) -> list[str]:
    """Names of the figures of a run; quality only of a trained system."""
    names = [name + reading.value for name in LATENCIES for reading in Reading]
    return [*(("BLEU", "chrF") if trained else ()), *names, "compute_RTF"]


def is_degenerate(instances: Sequence[Instance]) -> bool:
    """Whether most words were only written when the source had ended: that is not simultaneous."""
    words = [delay >= instance.source_length for instance in instances for delay in instance.delays]
    return bool(words) and sum(words) > _AT_THE_END * len(words)


def system_of(entry: SystemEntry, model: SpeechModel) -> System:
    """What readers are told of a system."""
    config, family, mode = model.config.encoder, "echostream", "stateful"
    if isinstance(config, ChunkConformerConfig):
        family, mode = "streamspeech", entry.encoder_mode or config.mode
    return System(
        entry.name,
        entry.label,
        family,
        mode,
        entry.checkpoint or f"random, {entry.random_weights}",
        entry.trained,
        model.num_parameters,
        model.encoder.frame_ms,
    )


def point_of(run: Run, plan: ComparisonPlan, log: str) -> Point:
    """The figures of one run; ``log`` is how its log is named in the results."""
    instances = run.instances
    samples = samples_of(instances, figures_of(trained=run.entry.trained))
    drawn = bootstrap(samples, plan.resamples, plan.seed)
    scores = {figure.name: figure for figure in score_instances(instances, run.segment_ms).figures}
    drawable = all(name in samples for name in PLOTTED)
    spec = parse_policy(run.policy)
    return Point(
        system=run.entry.name,
        policy=spec.name,
        policy_options=parse_options(spec.options, f"policy {spec.name}"),
        policy_label=run.policy,
        segment_ms=run.segment_ms,
        forced=not run.entry.trained,
        log=log,
        instances=len(instances),
        degenerate=is_degenerate(instances),
        figures={
            name: Score(
                scores[name].value,
                estimate.low,
                estimate.high,
                scores[name].unit,
                f"{scores[name].signature}|{drawn.signature}",
            )
            for name, estimate in drawn.estimates.items()
        },
        joint=Joint(*PLOTTED, drawn.joint(*PLOTTED)) if drawable else None,
    )


def pairs_of(systems: Sequence[System]) -> list[tuple[System, System]]:
    """Each system of EchoStream with each baseline, if both are trained or neither is."""
    return [
        (a, b)
        for a, b in product(systems, systems)
        if (a.family, b.family) == ("echostream", "streamspeech") and a.trained == b.trained
    ]


def paired_of(a: Run, b: Run, plan: ComparisonPlan) -> list[Paired]:
    """a minus b, on the recordings that both have."""
    common = {ins.index for ins in a.instances} & {ins.index for ins in b.instances}
    if len(common) < 2:
        return []
    trained = a.entry.trained
    ours, theirs = (
        samples_of(
            [ins for ins in run.instances if ins.index in common], figures_of(trained=trained)
        )
        for run in (a, b)
    )
    rows = []
    for metric, better in TESTED if trained else TESTED_UNTRAINED:
        if metric in ours and metric in theirs:
            test = approximate_randomisation(
                theirs[metric], ours[metric], num_resamples=plan.resamples, seed=plan.seed
            )
            found = test.difference
            names = a.entry.name, b.entry.name, *a.key, metric
            values = found.value, found.low, found.high, test.p_value
            rows.append(Paired(*names, *values, better))
    return rows
