"""Tests of the data recipes, on made-up miniature packages and without a network."""
