"""Clients in real time against a server: what does one machine carry, and for how long?"""
