# expect: timed_out
# Costs no CPU time; the wall clock ends it.
import time
time.sleep(60)
