"""Why a process ran instead of being a hit: pure comparison of what is known of two processes.

``process`` is what is known of one; ``file_changes`` compares two input roots; ``compare`` finds
the causes that tell two processes apart; ``nearest`` chooses the earlier process to compare with;
``verdict`` adds what the cache did; ``root_causes`` follows changed files to the process that
made them, and groups; ``recurring`` finds causes that come back in run after run.

Nothing here does I/O: who calls it passes what the journal and the store know.
"""
