"""Flight records: read what ``--record`` wrote, do it again, find the first difference."""
