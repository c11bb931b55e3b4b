"""What depends on the host: what an action sees of it, as which user, and why a sandbox fails.

``zones`` says where nothing is seen but what is named, ``toolchains`` and ``places`` name it, and
``private_files`` finds what is left out of that. ``host_views`` puts them together, and
``host_view`` plans the steps of a sandbox. ``not_shown`` tells users what their action missed.
``identity`` has the uid and gid of actions; ``diagnosis`` explains why this host allows no slots.
"""
