"""What clients can't exhaust, whatever the transport lets them do: descriptors and memory."""
