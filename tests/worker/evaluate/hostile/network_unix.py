# expect: passed
import os
import socket
for path in ("/run/dbus/system_bus_socket", "/var/run/docker.sock", "\0/tmp/.X11-unix/X0", "/run/systemd/notify"):
    try:
        socket.socket(socket.AF_UNIX).connect(path)
    except OSError:
        continue
    os._exit(1)

def double(x):
    return x + x
