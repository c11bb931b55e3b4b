"""Input roots as directories on disk: made of layers that many input roots share.

Begin with ``input_roots``, whose ``hold`` returns the layers of an input root. ``input_tree``
fetches its Directories (each parsed by ``parsed_directory``), ``layer_plan`` decides which layers
it consists of, ``layers`` keeps layers on disk within a size limit, and ``materializer`` writes
new ones through ``layer_writer``. ``background_deletion`` deletes evicted layers.
"""
