# expect: failed
class Bad(BaseException):
    def __str__(self):
        raise SystemExit(0)

def double(x):
    raise Bad
