"""The slot sandbox: small processes that stay ready, and each run one action after the other.

In the server: begin with ``slot_sandbox``, which hands actions to slots; ``slot_process`` starts
one slot and talks to it, in the messages of ``slot_messages``; ``kept_memory`` finds what an ended
action still has in memory. In the slot's own process: begin
with ``slot_main``; ``root_filesystem`` builds what every action of the slot sees, ``workspace``
makes the mounts and namespaces of one action, ``slot_action`` runs its process.
"""
