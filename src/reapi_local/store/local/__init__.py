"""Blobs and action results on this machine's disk: generations, leases, a size limit."""
