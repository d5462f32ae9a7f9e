"""The servers of ``echostream serve`` as replicas of Ray Serve, and what sends clients to them."""
