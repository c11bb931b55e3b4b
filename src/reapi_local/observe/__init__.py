"""Subscribers of the event stream: counters, the latest runs, the log.

To add one, write a class with a method for each type of event that it uses, and let ``compose``
subscribe it.
"""
