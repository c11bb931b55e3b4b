"""The Pants plugin of reapi-local: it starts a REAPI server on this machine and points Pants at it.

It needs the standard library, `pants.*` and the launcher only, and works on CPython 3.9 to 3.14.
`pants_config` never imports Pants, so the `reapi-local` command uses it too.
"""
