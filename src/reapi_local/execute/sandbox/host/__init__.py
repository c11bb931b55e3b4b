"""What depends on the host: what an action sees of it, as which user, and why a sandbox fails.

``host_view`` plans which files of the host an action sees; ``hidden_paths`` lists what is secret;
``identity`` has the uid and gid of actions; ``diagnosis`` explains why this host allows no slots.
"""
