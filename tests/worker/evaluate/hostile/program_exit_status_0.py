# expect: failed
# form: program
import os
os._exit(0)
