"""Running actions on this machine: resolve, bind to a sandbox, run, collect, store."""
