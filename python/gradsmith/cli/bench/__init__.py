"""`gradsmith bench`: measures this library, and others, against what the machine can do at most.

    options    the arguments
    command    problems in, rows out
    problems   lists of problems by name; formats reads them and other projects' files
    suites     which lists make a suite
    case       what a problem is; cases/ has them all
    peers/     one file for each other library
    measure    timing in turn, and the machine's limits
    report, compare, plot, progress: what is shown

Nothing here is imported before the command runs, except the options.
"""
