"""The sub-commands of ``echostream``: each module has its parser and a ``main`` that does the work.

What takes long to import (torch, fairseq) is imported when the work begins, never for the parser.
"""
