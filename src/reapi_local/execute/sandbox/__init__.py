"""Ways to run a process apart from the rest of the machine; the strongest that works is used."""
