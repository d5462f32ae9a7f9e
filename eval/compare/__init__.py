"""EchoStream beside the baseline: what is compared, what was measured, and the report of it.

``plan`` says what is compared, ``grid`` runs it, ``points``, ``lengths`` and ``timelines`` make the
results of it, whose format is ``schema``; ``page``, ``tables`` and ``figures`` draw them.
"""
