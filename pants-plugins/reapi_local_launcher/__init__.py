"""Finds, starts, checks and stops the server. Standard library only; nothing here imports Pants.

Read it in this order: `settings` and `paths` say what is wanted and where things are, `running`
finds a server, `launch` makes sure there is one, `stop`, `check` and `purge` work on it, `report`
renders the results and `cli` is the `reapi-local` command over all of these.
"""
