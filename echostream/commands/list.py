"""``echostream list``: the policies and decoders there are."""

from __future__ import annotations

import argparse


def main(argv: list[str] | None = None) -> int:
    """Print every registered policy and decoder with its options."""
    argparse.ArgumentParser(
        prog="echostream list", description="Policies and decoders, with their options."
    ).parse_args(argv)
    from echostream import decoder, policy

    print("Policies (--policy NAME --policy-options K=V,...)\n")
    print(policy.describe())
    print("\nDecoders (--decoder NAME --decoder-options K=V,...)\n")
    print(decoder.describe())
    return 0
