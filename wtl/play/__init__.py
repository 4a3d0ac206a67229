"""`wtl play`: show a task in a browser, watch the policy try it, score it, and see the next attempt succeed.

    stage      one environment of a task, and the episode that is played in it: no clock, no network
    controls   what a person may steer with, from the action space; and what was meant by an input
    films      the pictures of an episode, and the one picture that shows all of it
    memory     the adaptation on the server: its episodes, versions and forks, through `service.client`
    player     what happens on one page, as a state machine: no thread, no socket
    worker     a thread for one player, which keeps its pace
    access     who may use the page: a token, its cookie, and pages of its own alone
    pages      the page, and one WebSocket for frames and commands
    launch     puts them together, with a server of its own if none is named

Each module knows those above it. Everything that is learned is an adaptation on the server.
"""
