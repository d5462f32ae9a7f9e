"""``echostream list``: the policies and decoders there are."""

from __future__ import annotations

import argparse


def build_parser() -> argparse.ArgumentParser:
    """A parser without options."""
    return argparse.ArgumentParser(
        prog="echostream list", description="Policies and decoders, with their options."
    )


def main(argv: list[str] | None = None) -> int:
    """Print every registered policy and decoder with its options."""
    build_parser().parse_args(argv)
    from echostream import decoder, policy

    print("Policies (--policy NAME --policy-options K=V,...)\n")
    print(policy.describe())
    print("\nDecoders (--decoder NAME --decoder-options K=V,...)\n")
    print(decoder.describe())
    return 0
