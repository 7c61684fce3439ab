"""What holds for the whole suite."""

import signal

# Started in the background of a shell script, the suite inherits an ignored Ctrl-C and would hand that on to every program
# it starts, so that tests of Ctrl-C wait for ever. A handler of our own becomes the default again in those programs.
signal.signal(signal.SIGINT, signal.default_int_handler)
