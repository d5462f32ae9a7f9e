"""EchoStream beside the baseline: what is compared, and the results that a report is drawn from."""
