# expect: failed
import socket
socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)

def double(x):
    return x + x
