"""``echostream list``: the policies and decoders there are."""

import argparse

from echostream.commands import command


def build_parser() -> argparse.ArgumentParser:
    """A parser without options."""
    return argparse.ArgumentParser(
        prog="echostream list", description="Policies and decoders, with their options."
    )


@command("list", build_parser)
def main(args: argparse.Namespace) -> None:
    """Print every registered policy and decoder with its options."""
    from echostream import decoder, policy

    print("Policies (--policy NAME --policy-options K=V,...)\n")
    print(policy.describe())
    print("\nDecoders (--decoder NAME --decoder-options K=V,...)\n")
    print(decoder.describe())
