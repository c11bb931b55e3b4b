"""Sandboxes that start a supervisor for each action: bubblewrap, and the plain process group."""
