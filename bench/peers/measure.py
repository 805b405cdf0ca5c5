"""measure.py SECONDS_MAX COMMAND... - run it; prints its seconds, seconds of CPU time, MB of peak memory

CPU time is that of all processes that were waited for.  Memory is the resident memory of the largest
of them, files that it mapped included; below 15 MB it is this program's own.  The command, and
all that it started, ends when this is told to or the time is over.  Its status is this one's.
"""
import os
import signal
import sys
import time

start = time.monotonic()
pid = os.posix_spawnp(sys.argv[2], sys.argv[2:], os.environ, setpgroup=0,
                      file_actions=[(os.POSIX_SPAWN_DUP2, 2, 1)])  # its words, apart from ours


def stop(*_):
    os.killpg(pid, signal.SIGKILL)


signal.signal(signal.SIGTERM, stop)
signal.signal(signal.SIGALRM, stop)
signal.alarm(int(sys.argv[1]))
_, status, usage = os.wait4(pid, 0)
print(f"{time.monotonic() - start:.3f} {usage.ru_utime + usage.ru_stime:.3f} {usage.ru_maxrss * 1024 / 1e6:.0f}")
sys.exit(os.waitstatus_to_exitcode(status) != 0)
