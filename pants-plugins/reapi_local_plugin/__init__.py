"""The Pants plugin of reapi-local: it starts a REAPI server on this machine and points Pants at it.

Standard library and `pants.*` only, valid on CPython 3.9 to 3.14. `launcher` and `rewire` never
import Pants, so they serve the `reapi-local` command as well.
"""
