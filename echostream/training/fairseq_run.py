"""fairseq runs the training; here it gets its options, and one process or several.

What is decided here and not left to fairseq's defaults is what ``tiny`` was tuned with; any of it
can be overridden by the user's own fairseq options, which come last.
"""

import importlib.util
import logging
import os
import signal
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch.multiprocessing.spawn import spawn

from echostream.config import SystemConfig
from echostream.errors import ConfigError
from echostream.training.fairseq_checkpoints import FAIRSEQ, LAST, read_checkpoint
from echostream.training.run_options import ARCHITECTURES, RunOptions, TrainingOptions

logger = logging.getLogger(__name__)

_SAME_NAMES = "weight_decay", "solo_epochs", "solo_seconds", "augment", "corpora", "repeat"
PLUGIN = Path(__file__).resolve().parent / "fairseq_plugin"
_OWN_LOGGERS = ("echostream", "train", "train_inner", "dev", "test", "__main__")


def require_fairseq() -> None:
    """Raise :class:`ConfigError` where fairseq is not installed."""
    if importlib.util.find_spec("fairseq") is None:
        raise ConfigError(
            "training needs fairseq, which is not installed. `make install` does it on Linux "
            "x86_64 with Python 3.11 or 3.12; elsewhere: pip install --no-deps "
            "fairseq-fixed==0.12.3.1 (it needs a C compiler), and pip install "
            "'echostream[fairseq-needs]'"
        )


def fairseq_arguments(
    system: Path,
    config: SystemConfig,
    data: Path,
    run: Path,
    options: TrainingOptions,
    *,
    validate: bool = True,
    more: Sequence[str] = (),
) -> list[str]:
    """The command line of ``fairseq-train`` for a run in the folder ``run``.

    ``more`` are the user's own options; ``validate`` is whether there is a development part.
    """
    values = {
        **{name.replace("_", "-"): getattr(options, name) for name in _SAME_NAMES},
        "task": "echostream_speech",
        "system": system,
        "arch": ARCHITECTURES[config.encoder.name],
        "criterion": "echostream_multitask",
        "clip-norm": 2.0,
        "min-lr": options.peak_rate / 100,
        "max-tokens": options.max_frames,
        "start-from": options.start_from or "",
        "valid-subset": "dev",
        "keep-interval-updates": options.keep,
        "history-interval": options.report_every,
        "log-interval": options.report_every,
        "num-workers": _workers(options),
    }
    arguments = run_arguments(str(data), run, options, values)
    if not validate:
        arguments.append("--disable-validation")
    if options.minutes is not None:
        # fairseq counts the time of all starts together.
        last = run / FAIRSEQ / LAST
        seconds = read_checkpoint(last).seconds if last.exists() else 0.0
        arguments += ["--stop-time-hours", str(options.minutes / 60 + seconds / 3600)]
    return arguments + list(more)


def run_arguments(
    data: str, run: Path, options: RunOptions, values: Mapping[str, object]
) -> list[str]:
    """What ``fairseq-train`` is told about every run, and the ``values`` by the option's name."""
    warmup = min(options.warmup, max(1, options.updates // 4))
    told = {
        "user-dir": PLUGIN,
        "optimizer": "echostream_adamw",
        "lr": options.peak_rate,
        "lr-scheduler": "echostream_cosine",
        "warmup-updates": warmup,
        "warmup-init-lr": options.peak_rate / warmup,
        "max-update": options.updates,
        "seed": options.seed,
        "train-subset": "train",
        "save-dir": run / FAIRSEQ,
        "work-dir": run,
        "save-interval-updates": options.save_every,
        "tensorboard-logdir": run / "tensorboard",
        "log-format": "simple",
        **values,
    }
    arguments = [data, "--no-epoch-checkpoints", "--no-progress-bar"]
    for name, value in told.items():
        arguments += [f"--{name}", str(value)]
    return arguments if torch.cuda.is_available() else [*arguments, "--cpu"]


def updates_done(run: Path) -> int:
    """Updates that the run in that folder has made; 0 if there is none."""
    path = run / FAIRSEQ / LAST
    return read_checkpoint(path).updates if path.exists() else 0


def _workers(options: TrainingOptions) -> int:
    """Loading processes: several processes that train load their own batches."""
    if options.workers is not None:
        return options.workers
    if torch.cuda.is_available():
        return 4
    return 1 if options.processes == 1 and (os.cpu_count() or 1) > 1 else 0


def run_fairseq(arguments: Sequence[str], processes: int = 1) -> None:
    """``fairseq-train`` with these arguments, in this process or in several of this machine.

    Several are for the CPU: they share each update through gloo, and two of them on two cores are
    quicker than one with two threads. On GPUs fairseq starts one process for each by itself.
    """
    if processes == 1 or torch.cuda.is_available():
        _run(list(arguments))
        return
    with tempfile.TemporaryDirectory() as folder:
        shared = [
            *arguments,
            *("--distributed-world-size", str(processes), "--distributed-no-spawn"),
            # A file and the loopback interface, so that nothing listens on the network.
            *("--distributed-init-method", (Path(folder) / "rendezvous").as_uri()),
            *("--distributed-backend", "gloo", "--ddp-backend", "legacy_ddp"),
            # Else one process sends its checkpoint to the others, which PyTorch will not unpickle.
            "--load-checkpoint-on-all-dp-ranks",
        ]
        spawn(_run_rank, args=(shared, processes), nprocs=processes)


def _run_rank(rank: int, arguments: list[str], processes: int) -> None:
    # PyTorch interrupts these processes when the one that started them is gone. Started in the
    # background of a script they would have inherited to ignore that, and would train on alone.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // processes))
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    configure_logging(logging.INFO if rank == 0 else logging.ERROR)
    _run([*arguments, "--distributed-rank", str(rank)])


def _run(arguments: list[str]) -> None:
    warnings.filterwarnings("ignore", message=".*pin_memory.*")
    with warnings.catch_warnings():
        # Of fairseq's age: deprecated interfaces of PyTorch and Hydra.
        warnings.simplefilter("ignore")
        from fairseq import checkpoint_utils, options
        from fairseq.dataclass.utils import convert_namespace_to_omegaconf
        from fairseq.distributed import utils as distributed_utils
        from fairseq.logging import progress_bar
        from fairseq_cli import train

        parser = options.get_training_parser()
        parsed = options.parse_args_and_arch(parser, input_args=arguments)
        config = convert_namespace_to_omegaconf(parsed)
    if torch.cuda.is_available():
        # Matrix products in TF32: ten bits of mantissa, float32's range, several times the speed.
        torch.set_float32_matmul_precision("high")
    # fairseq keeps the best loss in its function; another run in this process is another run.
    for function in (checkpoint_utils.save_checkpoint, train.should_stop_early):
        vars(function).clear()
    try:
        distributed_utils.call_main(config, train.main)
    finally:
        # Kept by tag alone, so that another run in this process would write into this one's folder.
        writers = getattr(progress_bar, "_tensorboard_writers", None) or {}
        for writer in writers.values():
            writer.close()
        writers.clear()


def configure_logging(level: int = logging.INFO) -> None:
    """Progress as short lines, from that level on; of fairseq's own messages only warnings.

    Nothing is changed where logging was set up already.
    """
    handler = logging.StreamHandler()
    # fairseq logs its whole configuration and the network; who needs that calls fairseq-train.
    handler.addFilter(
        lambda record: (
            record.levelno >= logging.WARNING or record.name.split(".")[0] in _OWN_LOGGERS
        )
    )
    handler.setLevel(level)
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", handlers=[handler]
    )
