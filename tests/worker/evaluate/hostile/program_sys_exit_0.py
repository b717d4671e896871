# expect: failed
# form: program
import sys
sys.exit(0)
