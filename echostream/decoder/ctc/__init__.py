"""CTC heads and incremental search over them."""
