"""Where concrete parts meet: the runtime on Ray (``cluster``) or in a process (``embedded``)."""
