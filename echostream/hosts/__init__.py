"""Hosts: they bring audio into sessions and carry output out."""
