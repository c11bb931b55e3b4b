"""The state of one ``ByteStream.Write`` call, message by message, without I/O.

Source: google.bytestream ``WriteRequest``; REAPI v2, ContentAddressableStorage, on uploads.
"""

from __future__ import annotations

from reapi_local.errors import DigestMismatch, InvalidRequest
from reapi_local.protocol.resource_name import UploadName
from reapi_local.protocol.zstd import Decoder


class WriteSequence:
    """Accepts the messages of one call and refuses the first that is out of sequence.

    ``committed`` is how many bytes were kept of an earlier call under this name that broke off. Of
    a compressed upload too this counts bytes of the blob. The rest comes in a frame of its own, and
    later messages add the compressed bytes since then (REAPI v2, ContentAddressableStorage).
    """

    def __init__(self, raw_name: str, name: UploadName, committed: int) -> None:
        self._raw_name = raw_name
        self.name = name
        self._digest = name.digest
        self.offset = committed
        """The ``write_offset`` of the next message."""
        self.received = committed
        """How many bytes of the blob there are, at which a call can resume if this one breaks off.
        Of a compressed upload, the caller adds what it has decompressed and written."""
        self.decoder = Decoder(name.digest, committed) if name.is_compressed else None
        self.finished = False

    def accept(self, raw_name: str, write_offset: int, length: int, finish_write: bool) -> None:
        """Accept one message with ``length`` bytes of data.

        Raises:
            InvalidRequest: another resource, another offset than the next, or data after the end.
            DigestMismatch: more or fewer bytes than the digest says.
        """
        if self.finished:
            raise InvalidRequest(f"upload of {self._digest}: a message came after finish_write")
        if raw_name not in ("", self._raw_name):
            raise InvalidRequest(
                f"upload of {self._digest}: a later message names {raw_name[:300]!r}; "
                "one call writes one resource"
            )
        if write_offset != self.offset:
            raise InvalidRequest(
                f"upload of {self._digest}: write_offset {write_offset}, but this message begins "
                f"at {self.offset}; in a new call, resume at {self.received} or begin again at 0"
            )
        self.offset += length
        if self.decoder is None:
            self.received = self.offset
            if self.received > self._digest.size_bytes:
                raise DigestMismatch(
                    f"upload of {self._digest}: received at least {self.received} bytes, "
                    f"but the digest says {self._digest.size_bytes}"
                )
            if finish_write and self.received < self._digest.size_bytes:
                raise DigestMismatch(
                    f"upload of {self._digest}: finish_write came after {self.received} bytes, "
                    f"but the digest says {self._digest.size_bytes}"
                )
        self.finished = finish_write

    def end(self) -> None:
        """The client has sent its last message.

        Some clients never set ``finish_write``: for them, an upload with all its bytes is finished.

        Raises:
            InvalidRequest: there are fewer bytes, and no ``finish_write``.
            DigestMismatch: compressed data ends within a frame.
        """
        if not self.finished and self.received < self._digest.size_bytes:
            raise InvalidRequest(
                f"upload of {self._digest} ended after {self.received} bytes without finish_write; "
                f"resume at write_offset {self.received}, or begin again at 0"
            )
        if self.decoder is not None:
            self.decoder.finish()
        self.finished = True
