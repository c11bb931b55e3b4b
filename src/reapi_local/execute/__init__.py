"""Running actions: who is next, in which sandbox, on which input root, and what came out."""
