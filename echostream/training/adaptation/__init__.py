"""Whisper's encoder is made streaming: it learns to give, chunk by chunk, what it gives offline."""
