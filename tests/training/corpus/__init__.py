"""Tests of other projects' formats."""
