"""The launcher: it finds, starts, checks and stops the server.

It needs the standard library and `reapi_contract` only, works on CPython 3.9 and newer, and never
imports Pants.

Read it in this order: `server_settings` and `paths` say what is wanted and where things are,
`server.running` finds a server, `server.launch` makes sure that there is one, `server.stop`,
`server.self_check` and `server.purge` work on it, and `cli` is the `reapi-local` command, which
uses all of these.
"""
