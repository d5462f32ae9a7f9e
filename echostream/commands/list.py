"""``echostream list``: the policies, generators and decoders there are."""

import argparse

from echostream.commands import command


def build_parser() -> argparse.ArgumentParser:
    """A parser without options."""
    return argparse.ArgumentParser(
        prog="echostream list", description="Policies, generators and decoders, with their options."
    )


@command("list", build_parser)
def main(args: argparse.Namespace) -> None:
    """Print every registered policy, generator and decoder with its options."""
    from echostream import decoder, policy
    from echostream.decoder import generator, text  # noqa: F401  (registers its generator)

    print("Policies (--policy NAME --policy-options K=V,...)\n")
    print(policy.describe())
    print("\nGenerators, chosen by the checkpoint (--generator NAME --generator-options K=V,...)\n")
    print(generator.describe())
    print("\nDecoders of the generator ctc (--decoder NAME --decoder-options K=V,...)\n")
    print(decoder.describe())
