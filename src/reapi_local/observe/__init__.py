"""What happened: counted as it happens, told to whoever asks."""
