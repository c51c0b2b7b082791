"""What Unosend's clients ask of `/v1` and `/api/v1`: its names, ids and forms."""
