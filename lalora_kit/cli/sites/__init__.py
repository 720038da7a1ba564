"""The commands across machines: `lalora site init|run|check` at a site, `lalora serve app|check` at the server.

Imports what the command line does; heavy imports happen inside the commands. Read `site` first.
"""
