"""What a client's languages mean for the options of a system."""

import dataclasses

from echostream.config import SystemConfig
from echostream.errors import ConfigError
from echostream.session import SystemOptions
from echostream.session.build import primary_language, require_languages


def spoken_options(
    options: SystemOptions, config: SystemConfig, source: str | None, target: str | None
) -> SystemOptions:
    """The options with a client's languages; the source as target stands for a transcript.

    Args:
        options: what holds where the client says nothing.
        config: of the model, which is the same for all.
        source: code of the language that is spoken, such as ``es``.
        target: code of the language to write.

    Raises:
        ConfigError: for a language that the model does not have.
    """
    require_languages(config, source=source)
    own = options.source_language
    if config.source_languages and source is not None:
        own = primary_language(source)
    spoken, task = own or config.source_language, options.task
    if target is not None and primary_language(target) == primary_language(spoken):
        task = "asr"
    elif task == "asr" and target is not None:
        raise ConfigError(
            f"the target language is {target!r}, but this system transcribes; expected {spoken!r}, "
            "which is spoken"
        )
    else:
        require_languages(config, target=target)
    return dataclasses.replace(options, source_language=own, task=task)
