"""The one place that names concrete classes: stacks them, starts and stops them in order."""
