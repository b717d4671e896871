# expect: failed
class Always:
    def __eq__(self, other):
        return True

    def __hash__(self):
        return 4

def double(x):
    return Always()
