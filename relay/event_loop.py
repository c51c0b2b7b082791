"""The event loop belongs to all sessions. Reading, rendering and signing a message is work of the processor alone; a
message that is larger than this goes through it in a thread, so that the others are answered meanwhile."""

LARGEST = 65_536  # octets; some milliseconds at worst
