"""The rates and names every room agrees on. Nothing here is written a second time elsewhere.

Units: a *sample* is one PCM value at ``SAMPLE_RATE``; a *feature frame* is one log-mel vector
(100 Hz); an *encoder frame* is one encoder output (50 Hz).
"""

SAMPLE_RATE = 16_000
"""Samples per second inside EchoStream; other rates are resampled on the way in."""

NUM_MEL_BINS = 80
"""Size of a feature frame."""

FRAME_LENGTH_SAMPLES = 400
"""Length of the analysis window of a feature frame (25 ms)."""

FRAME_SHIFT_SAMPLES = 160
"""Distance between two feature frames (10 ms)."""

FRAME_SHIFT_MS = 10
"""Duration of a feature frame in milliseconds."""

SUBSAMPLING = 2
"""Feature frames per encoder frame."""

ENCODER_FRAME_MS = FRAME_SHIFT_MS * SUBSAMPLING
"""Duration of an encoder frame in milliseconds (50 Hz)."""

DOWNSAMPLING = (1, 2, 4, 8, 4, 2)
"""How many encoder frames one frame of each of the six stacks stands for."""

CHUNK_MULTIPLE = max(DOWNSAMPLING)
"""A chunk and a left context are multiples of this many encoder frames (160 ms)."""

BACKENDS = ("torch", "inductor", "openvino", "auto")
"""What can run the encoder; compiled forms fastest first, as measured at one thread."""

PRECISIONS = ("float32", "int8")
"""What a compiled encoder's weights can be in."""

CHANNELS = ("mean", "left", "right")
"""What can be heard of two channels."""

TASKS = ("s2tt", "asr")
"""Speech-to-text translation, or transcription of the source."""

OUTPUT_UNITS = ("word", "char")
"""``word``: separated by white space. ``char``: every character by itself (Chinese, Japanese)."""

FEATURES = ("kaldi", "whisper")
"""Whose log-mel filter bank a model was trained on."""
