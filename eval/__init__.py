"""Programs that measure; thin over ``echostream.scoring``."""
