"""What users named to be shown to actions: the setting, and repositories of clients."""

from __future__ import annotations

import os

from reapi_contract import data_dir, ready_line
from reapi_local.compose.cannot_start import CannotStart
from reapi_local.config.schema import Config
from reapi_local.execute.sandbox.host.places import CannotShow, Places


def places_of(config: Config) -> Places:
    """Raises CannotStart if a path of the setting can't be shown."""
    file = os.path.join(config.data_dir, data_dir.PLACES)
    places = Places(config.execute.show, config.data_dir, file)
    try:
        places.check()
    except CannotShow as error:
        raise CannotStart(
            ready_line.SETTINGS,
            f"the setting show can't be used: {error}",
            "name a directory in it that holds what actions need and nothing else",
        ) from error
    return places
