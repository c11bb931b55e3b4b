"""Subscribers of the event stream: counters, the latest runs, the log.

A new one is a class with a method for each type of event that it wants; ``compose`` subscribes it.
"""
