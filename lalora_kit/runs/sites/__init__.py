"""Sites: the same run across machines; each keeps its data, and the server sees noised uploads alone.

Imports base to federated, and what runs has. Read `site` first (what it answers, and what it refuses), then `terms`,
`wire`, `serving` (the server's rounds), `places`; `door` is the socket, `setup` a directory, `app`, `flower` Flower's.
"""
