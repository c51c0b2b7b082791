"""What Nylas' clients ask of `/v3`: its names, ids and forms."""
